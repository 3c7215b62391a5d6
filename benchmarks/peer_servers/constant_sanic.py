"""Sanic's share of an answer of LibRecommender's serving."""

from sanic import Request, Sanic
from sanic.response import HTTPResponse, json

app = Sanic("constant")


@app.post("/constant")
async def constant(_: Request) -> HTTPResponse:
    """Three items."""
    return json({"Recommend result for user 1": ["1", "2", "3"]})
