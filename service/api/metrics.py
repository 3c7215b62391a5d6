"""/metrics."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.parts import KEY, PartsDependency

router = APIRouter(tags=["health"], dependencies=[KEY])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def get_metrics(parts: PartsDependency) -> Response:
    """What Prometheus reads."""
    return Response(parts.metrics.text(), media_type=CONTENT_TYPE_LATEST)
