"""How figures are found, styled and saved; what each of them shows is in `analysis/figures`."""
