"""/metrics."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.describe import answers
from service.api.parts import PartsDependency

router = APIRouter(tags=["health"])


_TEXT: dict[int | str, Any] = {
    200: {"description": "Prometheus' text form", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/metrics", summary="For Prometheus", response_class=Response, responses=_TEXT | answers())
async def get_metrics(parts: PartsDependency) -> Response:
    """What Prometheus reads.

    Request durations, queue and batches of the encoder, shed tweets, answers by source, candidates, users folded in,
    memory, the model.
    """
    return Response(parts.metrics.text(), media_type=CONTENT_TYPE_LATEST)
