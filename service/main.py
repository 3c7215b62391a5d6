"""create_app(); the lifespan builds everything, nothing is built at import."""

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

from contract.blobs import BlobStore
from contract.changelog import ChangeLog
from contract.embedded import open_store, redis_server
from contract.fold_in import FoldInStores
from contract.graph import OnlineGraph
from contract.model_folders import open_models
from contract.pending import PendingTweets
from contract.release import release
from contract.tables import open_database
from contract.trial import Recommended
from contract.unsure import Unsure
from contract.vectors import VectorStore
from contract.waiting import WaitingUsers
from service import problems
from service.active import ActiveModels
from service.admission import Admission
from service.api import describe, health, lists, models, ops, pages, recommendations, tweets, users
from service.api import metrics as metrics_route
from service.api.parts import Parts
from service.background import background
from service.batcher import open_batcher
from service.candidates import Bounds
from service.census import Census
from service.changes import Changes
from service.compare import Compared
from service.cursor import Cursors, cursor_key
from service.database import Database
from service.deadline import Deadline
from service.errors import ServiceError
from service.fold_in import FoldIns
from service.guard import Guard
from service.head import HeadAsGet
from service.headers import SecurityHeaders
from service.ingest import Ingest
from service.keys import open_keys
from service.limits import BodyLimit
from service.mend import Mender
from service.metrics import Metrics
from service.observe import Observe
from service.online import OnlineNetwork
from service.pictures import Pictures
from service.rates import Rates
from service.recommend import Online
from service.restore import Restorer
from service.room import Pacer, Rounds
from service.settings import Settings
from service.shadow import Shadow
from service.stored import StoredNetwork
from service.trials import Trials

TELEMETRY: TelemetryConfig = {"auto_configure": True, "logs": False}
"""Spans and metrics go where OTEL_EXPORTER_OTLP_ENDPOINT says, if it is set; no logs, which could quote a request."""

REDIS_SECONDS = 2.0
"""How long a command waits for Redis; reads go on without it then (service/online.py)."""


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application. A start that fails leaves its exception in `app.state.startup_error`."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with (
                build(settings, metrics) as parts,
                aclosing(Rounds(lambda: health.store_states(parts))) as store_states,
            ):
                app.state.parts, app.state.store_states = parts, store_states
                gc.collect()
                gc.freeze()  # what is loaded now lives as long as the process: collections need not walk it again
                yield
        except Exception as error:
            app.state.startup_error = error
            raise

    app: FastAPI = FastAPIOffline(
        title="Image tweet recommender",
        description="Which three of these pictures will this user retweet?\n\n" + describe.ERRORS,
        version=release(),
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_tags=describe.TAGS,
        generate_unique_id_function=describe.operation_id,
        lifespan=lifespan,
        telemetry=TELEMETRY,
    )
    app.state.startup_error = None
    app.state.ending = False
    problems.install(app)
    for resource in (recommendations, users, lists, tweets, models, ops, health, metrics_route, pages):
        app.include_router(resource.router)
    app.mount("/web", pages.files, name="web")
    describe.complete(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit)
    pacer = Pacer()
    app.add_middleware(
        Admission, most_reads=settings.max_reads, most_writes=settings.max_writes, pacer=pacer, metrics=metrics
    )
    app.add_middleware(Guard, pacer=pacer)
    app.add_middleware(Deadline)
    app.add_middleware(Observe, metrics=metrics)
    app.add_middleware(SecurityHeaders)
    return app


@asynccontextmanager
async def build(settings: Settings, metrics: Metrics) -> AsyncIterator[Parts]:
    """Stores, model, batcher and background work; taken down in reverse order.

    Raises ContractError where a store cannot be used or the active model does not verify.
    """
    started_at = datetime.now(UTC)
    with redis_server(settings) as (redis_url, embedded):
        async with (
            open_database(settings.sqlalchemy_url) as engine,
            open_store(redis_url, settings, REDIS_SECONDS) as redis,
            aclosing(ChangeLog(redis, settings.redis_namespace)) as log,
            open_batcher(settings.queue_size, settings.max_batch, metrics) as batcher,
        ):
            vectors = VectorStore(redis, settings.redis_namespace)
            folders = await asyncio.to_thread(open_models, settings, settings.var_dir / "fetched_models")
            models = ActiveModels(vectors, engine, folders, settings.device, settings.max_batch, metrics)
            graph = OnlineGraph(redis, settings.redis_namespace)
            unsure = Unsure(redis, settings.redis_namespace, (ServiceError,))
            foldable = FoldInStores(engine, graph, vectors)
            pictures = Pictures(await asyncio.to_thread(BlobStore, settings.image_store_url))
            await asyncio.to_thread(pictures.blobs.sweep)
            ingest = Ingest(
                database=Database(engine),
                pictures=pictures,
                graph=graph,
                vectors=vectors,
                models=models,
                batcher=batcher,
                behind=asyncio.Event(),
                leaving=asyncio.Event(),
                fold_ins=FoldIns(WaitingUsers(redis, settings.redis_namespace), foldable, models, metrics),
                recommended=Recommended(redis, settings.redis_namespace),
                unsure=unsure,
                metrics=metrics,
            )
            key = await cursor_key(redis, settings.redis_namespace, secrets.token_bytes(32))
            cursors = Cursors(key)
            await models.refresh()
            await models.refresh_trial_if_it_loads()
            ingest.behind.set()
            ingest.leaving.set()
            keys = await open_keys(engine, settings)
            pending = PendingTweets(redis, settings.redis_namespace)
            restorer = Restorer(redis, settings.redis_namespace, key, ingest)
            stored = StoredNetwork(engine, models)
            network = OnlineNetwork(log, graph, vectors, stored, settings.held_mb * 1_000_000, metrics)
            async with (
                aclosing(pictures),
                aclosing(keys),
                aclosing(network),
                background(ingest, network, keys, embedded, pending, restorer, Mender(unsure, ingest)),
            ):
                bounds = Bounds(settings.max_per_followee, settings.max_candidates)
                online = Online(network, ingest.database, cursors, bounds, metrics)
                rates = Rates(redis, settings.redis_namespace, network, metrics)
                trials = Trials(ingest.recommended, models, metrics)
                changes = Changes(engine, unsure, graph, ingest.fold_ins, trials)
                async with (
                    aclosing(Shadow(online, metrics)) as shadow,
                    aclosing(Compared(ingest, online, metrics)) as compared,
                    aclosing(Census(ingest.database, models)) as census,
                ):
                    yield Parts(
                        settings=settings,
                        ingest=ingest,
                        changes=changes,
                        online=online,
                        trials=trials,
                        shadow=shadow,
                        compared=compared,
                        keys=keys,
                        rates=rates,
                        metrics=metrics,
                        census=census,
                        started_at=started_at,
                    )
