"""One file a pane; each draws a part of the view on its canvas and computes nothing."""
