"""The model that serves: one immutable object a version, swapped in one assignment."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from contract import artifact
from contract.artifact import Artifact, Manifest
from contract.errors import ContractError
from contract.model_folders import ModelFolders
from contract.runtime import Device, OnnxModel
from contract.trial import Trial
from contract.vectors import VectorStore
from contract.versions import activated_last, known_versions
from service.errors import NotReady
from service.metrics import Metrics

log = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0
_RENEW_SECONDS = 60.0


@dataclass(frozen=True)
class ActiveModel:
    """A version that was verified on this machine."""

    artifact: Artifact
    onnx: OnnxModel

    @property
    def manifest(self) -> Manifest:
        """The artefact's manifest."""
        return self.artifact.manifest

    @property
    def version(self) -> str:
        """Its name."""
        return self.manifest.version


@dataclass(frozen=True)
class OnTrial:
    """A second version, and for whom it serves."""

    model: ActiveModel
    trial: Trial


def load_model(folders: ModelFolders, version: str, device: Device, max_batch: int) -> ActiveModel:
    """Load, fetched if need be, verify and warm up; takes seconds.

    Raises ArtifactInvalid, DeviceUnavailable, StoreUnavailable where it cannot be fetched now.
    """
    exported = artifact.load(folders.need(version))
    model = OnnxModel(exported, device)
    model.verify_golden(exported)
    model.warm_up(exported.manifest.preprocessing, max_batch)
    return ActiveModel(exported, model)


class ActiveModels:
    """Follows the pointers in Redis: to the version that serves, to the one on trial, and to the one to come."""

    def __init__(
        self,
        vectors: VectorStore,
        engine: AsyncEngine,
        folders: ModelFolders,
        device: Device,
        max_batch: int,
        metrics: Metrics,
    ) -> None:
        self._vectors = vectors
        self._engine = engine
        self.folders = folders
        self._device = device
        self._max_batch = max_batch
        self._metrics = metrics
        self._loading, self._preloading = asyncio.Lock(), asyncio.Lock()
        self._refused: dict[str, float] = {}
        """Versions that do not load, by when to try again."""
        self._renewed = 0.0
        """When what was fetched was last looked at."""
        self.current: ActiveModel | None = None
        self.on_trial: OnTrial | None = None
        self.upcoming: ActiveModel | None = None
        """The one that is being published: loaded, so that the swap is quick and what is posted has a vector of it."""
        self.compared: ActiveModel | None = None
        """One that does not serve and was asked for by name (service/compare.py)."""

    def required(self) -> ActiveModel:
        """The model that serves; take it once a request. Raises NotReady where there is none."""
        if self.current is None:
            raise NotReady("no model serves yet: run `python -m training retrain`")
        return self.current

    def of_user(self, user_id: str) -> ActiveModel:
        """The model that serves a user: of the one on trial a share of them. Raises NotReady where there is none."""
        if self.on_trial is not None and self.on_trial.trial.has(user_id):
            return self.on_trial.model
        return self.required()

    def serving(self) -> list[ActiveModel]:
        """The active one and the one on trial, where they are there."""
        trial = [] if self.on_trial is None else [self.on_trial.model]
        return trial if self.current is None else [self.current, *trial]

    def beside(self) -> list[ActiveModel]:
        """What a posted tweet is encoded under beside the active one: the one on trial, and the one to come."""
        return [*self.serving()[1:], *([] if self.upcoming is None else [self.upcoming])]

    @asynccontextmanager
    async def switching(self, version: str) -> AsyncIterator[ActiveModel]:
        """A version, loaded and verified; it serves here once the block ends, in which the pointer is to be moved.

        Raises ArtifactInvalid or DeviceUnavailable where it cannot be loaded.
        """
        async with self._loading:
            model = await self._from_disk(version)
            yield model
            self._serve(model)

    async def refresh(self) -> bool:
        """Load the version that is to serve, if that is another one; whether it was swapped.

        Raises ArtifactInvalid, DeviceUnavailable or StoreUnavailable where it cannot be loaded; the one before goes on
        serving then.
        """
        async with self._loading:
            version = await self._wanted()
            if version is None or (self.current is not None and version == self.current.version):
                return False
            model = await self._load(version)
            if model is not None:
                self._serve(model)
            return model is not None

    async def refresh_trial(self) -> bool:
        """Load the version on trial, if that is another one, and take over its share; whether it was swapped.

        Raises ArtifactInvalid or DeviceUnavailable where it cannot be loaded; the active one serves everybody then.
        """
        async with self._loading:
            trial = await self._vectors.trial()
            if trial is None and await self._vectors.active_version() is None:
                return False  # Redis lost its contents: it goes on until they are back
            if trial is None or (self.current is not None and trial.version == self.current.version):
                self.on_trial = None
                return False
            if self.on_trial is not None and trial.version == self.on_trial.model.version:
                self.on_trial = OnTrial(self.on_trial.model, trial)
                return False
            self.on_trial = None
            model = await self._load(trial.version)
            if model is not None:
                self.on_trial = OnTrial(model, trial)
                self._came(model)
                log.info("version %s is on trial, with a share of %g of the users", trial.version, trial.share)
            return model is not None

    async def refresh_trial_if_it_loads(self) -> None:
        """The same, where a version that cannot be loaded is no reason not to start."""
        try:
            await self.refresh_trial()
        except ContractError as error:
            log.error("the version on trial cannot be loaded, so that the active one serves everybody: %s", error)

    async def refresh_upcoming(self) -> None:
        """Load the version that is being published. Raises ArtifactInvalid or DeviceUnavailable where that fails."""
        async with self._preloading:  # not the other lock: a swap must not wait for this
            version = await self._vectors.upcoming()
            if version is None and self.upcoming is not None and await self._is_to_serve(self.upcoming.version):
                return  # whoever follows the other pointers takes it from here
            if version is None or version in {model.version for model in self.serving()}:
                self.upcoming = None
            elif self.upcoming is None or self.upcoming.version != version:
                self.upcoming = None
                self.upcoming = await self._load(version)
                for model in self.serving():  # which came meanwhile
                    self._came(model)

    async def renew_fetched(self) -> None:
        """Have what was fetched here as it is where it came from, once a minute. Raises StoreUnavailable."""
        if self.folders.shared is not None and time.monotonic() > self._renewed + _RENEW_SECONDS:
            self._renewed = time.monotonic()
            serving = {model.version for model in (*self.serving(), self.upcoming) if model is not None}
            await asyncio.to_thread(self.folders.renew, serving)

    async def _is_to_serve(self, version: str) -> bool:
        trial = await self._vectors.trial()
        return version in (await self._vectors.active_version(), trial and trial.version)

    async def _load(self, version: str) -> ActiveModel | None:
        """A version, if need be from disk; None where it did not load a moment ago."""
        for model in (*self.serving(), self.upcoming):
            if model is not None and model.version == version:
                return model
        if time.monotonic() < self._refused.get(version, 0.0):
            return None
        try:
            return await self._from_disk(version)
        except ContractError:
            self._refused[version] = time.monotonic() + _RETRY_SECONDS
            raise

    async def _from_disk(self, version: str) -> ActiveModel:
        return await asyncio.to_thread(load_model, self.folders, version, self._device, self._max_batch)

    async def _wanted(self) -> str | None:
        """What the pointer names; where Redis lost that, the version that was activated last, as SQL has it."""
        version = await self._vectors.active_version()
        if version is None:
            version = activated_last(await known_versions(self._engine))
        return version

    def _serve(self, model: ActiveModel) -> None:
        self.current = model
        self._refused.pop(model.version, None)
        if self.on_trial is not None and self.on_trial.model.version == model.version:
            self.on_trial = None
        self._came(model)
        log.info("version %s serves", model.version)
        manifest = model.manifest
        labels = {"version": model.version, "backbone": manifest.backbone, "device": model.onnx.device}
        self._metrics.model.info(labels)
        self._metrics.model_created.set(manifest.created_at.timestamp())

    def _came(self, model: ActiveModel) -> None:
        """It is not to come any more, and serves those, too, who ask for it by name."""
        if self.upcoming is not None and self.upcoming.version == model.version:
            self.upcoming = None
        if self.compared is not None and self.compared.version == model.version:
            self.compared = None
