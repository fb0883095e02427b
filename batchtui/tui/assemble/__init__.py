"""How a view is made from the facts of a run: pure functions, tested without a screen.

whole.py     status, progress, warning, processor, and the view as a whole
memory.py    the memory that the batch size has to fit into
training.py  step time, loss, noise, batch size
windows.py   which stretch of time or steps a chart shows
"""
