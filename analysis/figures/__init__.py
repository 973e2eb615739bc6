"""The figures: one module each, found by `analysis.drawing.discovery`; the module's name is the figure's.

A module has `TITLE`, `SENTENCE` (what one sees), `info(search, trials=None, **options)`, which returns data or raises
NothingToShowError, and `draw(data, axes)`. It may have `panels(data)`, the rows and columns of axes that it draws on,
and `chart(data)`, the same as a Plotly figure (plain JSON) for the report. The data has `table()`, a data frame of
all that is drawn.
"""
