"""What a running service tells of itself: metrics, request ids, log lines."""

import json
import logging
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contract.environment import StoreSettings
from service.observe import RequestIdFilter
from service.readings import kind_of
from service.serving import LOGGING
from tests.integration.running import Service, png, problem, serving

pytestmark = pytest.mark.anyio

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def samples(service: Service) -> Samples:
    answer = await service.client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


async def test_requests_tweets_and_answers_are_counted(service: Service, reader: str, author: str) -> None:
    before = await samples(service)
    for _ in range(3):
        await service.recommended(reader, 3)
    assert (await service.post(png("tomato"), author_id=author)).status_code == 201
    await service.client.get("/nowhere/at/all")
    await service.client.head("/models")
    after = await samples(service)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    route = {"method": "GET", "route": "/users/{user_id}/recommendations", "status": "200"}
    assert grown("http_request_duration_seconds_count", **route) == 3
    assert grown("http_request_duration_seconds_sum", **route) > 0
    assert grown("http_request_duration_seconds_count", method="GET", route="unmatched", status="404") == 1
    assert grown("http_request_duration_seconds_count", method="HEAD", route="/models", status="200") == 1
    assert grown("recommendations_total", source="followees", degraded="false") == 3
    assert grown("recommendation_candidates_count") == 3
    assert grown("encoder_batch_size_count") == grown("encoder_queue_seconds_count") == 1
    assert grown("tweet_to_candidate_seconds_count") == 1


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/", "/", 200),
        ("/ops", "/ops", 200),
        ("/web/style.css", "/web", 200),
        ("/web/none.js", "/web", 404),
        ("/static-offline-docs/swagger-ui.css", "/static-offline-docs", 200),
    ],
)
async def test_what_pages_are_made_of_is_counted_as_an_operator_s(
    service: Service, path: str, route: str, status: int
) -> None:
    labels = {"method": "GET", "route": route, "status": str(status)}
    before = value(await samples(service), "http_request_duration_seconds_count", **labels)
    assert (await service.client.get(path)).status_code == status
    assert value(await samples(service), "http_request_duration_seconds_count", **labels) == before + 1
    assert kind_of("GET", route) == "operate"


async def test_the_model_is_told(service: Service) -> None:
    found = await samples(service)
    manifest = service.parts.ingest.models.required().manifest
    labels = {"version": manifest.version, "backbone": manifest.backbone, "device": "cpu"}
    assert value(found, "model_info", **labels) == 1
    assert value(found, "model_created_timestamp_seconds") == pytest.approx(manifest.created_at.timestamp())


async def test_memory_in_use_is_told(service: Service) -> None:
    found = await samples(service)
    assert value(found, "heap_in_use_bytes") > 1e6
    assert value(found, "python_blocks") > 1e5


async def test_what_is_shed_is_counted(trained: StoreSettings) -> None:
    async with serving(trained, queue_size=1) as service:
        with service.parts.ingest.batcher.permit():
            problem(await service.post(png(), author_id="u0001"), 429, "overloaded")
        assert value(await samples(service), "requests_shed_total", limit="tweets") == 1


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 129, False), ("", False)])
async def test_every_answer_has_a_request_id(service: Service, given: str, kept: bool) -> None:
    for path in ("/health/live", "/nowhere", "/users/nobody/recommendations"):
        answer = await service.client.get(path, headers={"X-Request-ID": given})
        found = answer.headers["x-request-id"]
        assert (found == given) == kept
        assert 1 <= len(found) <= 128


async def test_a_fault_of_the_service_is_a_problem_with_a_request_id(
    service: Service, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    def broken() -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(service.parts.ingest.models, "required", broken)
    answer = await service.client.get(f"/users/{reader}/recommendations")
    body = problem(answer, 500, "internal-error")
    assert "secret" not in str(body)
    assert answer.headers["x-request-id"]


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the service's handler writes, formatted as it does."""
    formatter = logging.Formatter()
    configured = LOGGING["formatters"]["json"]
    module, _, name = configured["()"].rpartition(".")
    formatter = getattr(__import__(module, fromlist=[name]), name)(
        configured["format"], rename_fields=configured["rename_fields"]
    )
    written: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(formatter.format(record))

    handler = Collect()
    handler.addFilter(RequestIdFilter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


async def test_a_request_is_a_line_without_what_people_wrote(service: Service, lines: list[str], author: str) -> None:
    headers = {"X-Request-ID": "trace-me", "authorization": "Bearer hush-hush"}
    data, files = {"author_id": author, "text": "my private words"}, {"image": ("picture", png("orchid"))}
    assert (await service.client.post("/tweets", data=data, files=files, headers=headers)).status_code == 201
    mine = [json.loads(line) for line in lines if json.loads(line).get("request_id") == "trace-me"]
    (line,) = [line for line in mine if line["message"] == "request"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/tweets", 201)
    assert line["seconds"] > 0
    assert "private" not in "".join(lines)
    assert "hush" not in "".join(lines)
