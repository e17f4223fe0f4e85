"""The portal's pages for people, and the JSON that their script asks for."""

from __future__ import annotations

from flask import Blueprint

from sandbox.portal.frame import Frames
from sandbox.portal.world import World


def pages_blueprint(world: World, frames: Frames) -> Blueprint:
    return Blueprint("pages", __name__)
