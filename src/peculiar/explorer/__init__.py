"""See, select, compare and label objects in a web page; the server, and what it answers with."""

from peculiar.explorer.background import Explored
from peculiar.explorer.served import Options
from peculiar.explorer.server import make_app, serve

__all__ = ["Explored", "Options", "make_app", "serve"]
