"""One file a pane; each draws a part of the view on its canvas and computes nothing.

What only some runs show, or some moments of a run, is imported when it is drawn: the first frame
waits for the rest.
"""
