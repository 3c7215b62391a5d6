"""GET recommendations with `version`: what another kept version would answer, to look at two side by side.

Versions that serve are there; another one is loaded when it is asked for: on the CPU, in a thread, once for all who
wait for it. The last one stays, until another one is asked for or it serves itself.
"""

import asyncio
import logging
from dataclasses import replace

from contract.tasks import Tasks
from contract.versions import known_versions
from service.active import ActiveModel, load_model
from service.errors import NotReady, UnknownVersion, VersionUnfit
from service.ingest import Ingest
from service.metrics import Metrics
from service.recommend import Ask, Online, recommend
from service.schemas import Recommendations
from service.versions import check_kept, check_vectors, unfit

log = logging.getLogger(__name__)


class Compared:
    """What it answers is shown to no user: it counts neither in a trial nor among the sources of recommendations."""

    def __init__(self, parts: Ingest, online: Online, metrics: Metrics) -> None:
        self._parts, self._models, self._metrics = parts, parts.models, metrics
        self._online = replace(online, metrics=Metrics())
        self._tasks, self._turn = Tasks(), asyncio.Lock()
        self._loading: dict[str, asyncio.Task[ActiveModel]] = {}

    async def answer(self, ask: Ask, version: str) -> Recommendations:
        """The answer of a version.

        Raises UnknownVersion; VersionUnfit where it is not kept or does not load; NotReady where Redis has not what it
        is to rank by; else as `recommend`.
        """
        model, on_trial = self._serving(version), self._models.on_trial
        answer = await (self._of_another(ask, version) if model is None else recommend(ask, model, self._online))
        answer.trial = on_trial is not None and on_trial.trial.version == version and on_trial.trial.has(ask.user_id)
        self._metrics.compared_answers.labels(version).inc()
        return answer

    async def aclose(self) -> None:
        """End what is being loaded."""
        await self._tasks.aclose()

    def _serving(self, version: str) -> ActiveModel | None:
        return next((model for model in self._models.serving() if model.version == version), None)

    async def _of_another(self, ask: Ask, version: str) -> Recommendations:
        """Of one that does not serve: nothing keeps it from being deleted meanwhile, so it is looked for after, too."""
        await self._check_kept(version)
        model = await self._load(version)
        answer = await recommend(ask, model, self._online)
        if "online_network" in answer.missing:
            raise NotReady(
                f"version {version} does not serve, and Redis, which has its vectors, is away or being written anew: "
                "try again when /health/ready says that it is ok"
            )
        await self._check_kept(version)
        await check_vectors(model.artifact, self._parts)
        return answer

    async def _check_kept(self, version: str) -> None:
        """Raises UnknownVersion, VersionUnfit; what is in memory of the version is dropped then."""
        try:
            check_kept(version, await known_versions(self._parts.database.engine))
        except (UnknownVersion, VersionUnfit):
            if self._models.compared is not None and self._models.compared.version == version:
                self._keep(None)
            raise

    async def _load(self, version: str) -> ActiveModel:
        """Raises VersionUnfit. Loading goes on where the request ends before it: the next one finds the model."""
        compared = self._models.compared
        if compared is not None and compared.version == version:
            return compared
        task = self._loading.get(version)
        if task is None:
            task = self._loading[version] = self._tasks.start(self._load_in_turn(version))
            task.add_done_callback(lambda _: self._loading.pop(version))
        with unfit(version):
            return await asyncio.shield(task)

    async def _load_in_turn(self, version: str) -> ActiveModel:
        async with self._turn:
            model = await asyncio.to_thread(load_model, self._models.folders, version, "cpu", 1)
        self._keep(model)
        log.info("version %s is loaded, to be compared", version)
        return model

    def _keep(self, model: ActiveModel | None) -> None:
        """In the place of the one before, whose vectors are dropped, too."""
        before = self._models.compared
        serves = model is not None and self._serving(model.version) is not None  # since it began to be loaded
        self._models.compared = None if serves else model
        if before is not None:
            self._online.network.drop(before.version)
