"""Flask's and gunicorn's share of an answer of Cornac's serving."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/constant")
def constant() -> Response:
    """Three items."""
    return jsonify({"recommendations": ["1", "2", "3"], "query": {"uid": "1", "k": 3, "remove_seen": False}})
