"""The report: one HTML file that says what searches asked and found, and that needs nothing but a browser."""
