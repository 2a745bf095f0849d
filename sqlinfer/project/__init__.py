"""Model files: a folder of SELECTs, each the table or view of its name, built in the order of their references."""

from sqlinfer.project.build import Build
from sqlinfer.project.graph import select
from sqlinfer.project.node import Node
from sqlinfer.project.project import Project, load

__all__ = ["Build", "Node", "Project", "load", "select"]
