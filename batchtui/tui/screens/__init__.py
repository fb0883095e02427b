"""The main screen and the dialogs that lie over it."""
