"""A folder of somebody's own pictures as a dataset, with made people who like some of them.

Shape suffixes: T pictures.
"""

import csv
import io
import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contract.errors import ImageRejected
from contract.preprocessing import MAX_TEXT_LENGTH, decode_image
from contract.progress import Progress
from training.adopt_people import People, Retweet, draw_people, draw_posts, draw_retweets
from training.dataset.rows import FollowRow, RetweetRow, TweetRow, UserRow
from training.dataset.writing import writing
from training.drafts import new_folder
from training.errors import InputRejected

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}
CAPTIONS = "captions.csv"
MIN_PICTURES, MIN_PEOPLE = 20, 12
COLOURS = 4
"""Kinds by colour, where pictures are in no folders of their own."""
START = datetime(2026, 1, 1, tzinfo=UTC)
_LOOKED_AT = 32


@dataclass(frozen=True)
class Picture:
    """A file, by its path within the folder, and its mean colour."""

    name: Path
    colour: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Adopted:
    """What was made; pictures by kind; files that cannot be used, with the reason."""

    users: int
    follows: int
    tweets: int
    retweets: int
    kinds: dict[str, int]
    left_out: dict[str, str]


def adopt(folder: Path, out: Path, users: int, seed: int, progress: Progress) -> Adopted:
    """Write the new folder `out`, whole or not at all; the same pictures and seed give the same tables.

    Raises InputRejected where there are too few pictures or people, `out` is there or lies within the folder, or
    captions.csv cannot be used.
    """
    if users < MIN_PEOPLE:
        raise InputRejected(f"--people {users}: give at least {MIN_PEOPLE}")
    refuse_places(folder, out)
    pictures, left_out = usable_pictures(folder, progress)
    if len(pictures) < MIN_PICTURES:
        why = "".join(f"; {name}: {reason}" for name, reason in [*left_out.items()][:1])
        raise InputRejected(
            f"{folder} has {len(pictures)} pictures (JPEG, PNG, WebP, GIF) that can be used, at least {MIN_PICTURES} "
            f"are needed{why}"
        )
    texts = read_captions(folder, pictures)
    kind_T = kinds_of(pictures)
    rng = np.random.default_rng(seed)
    names = sorted(set(kind_T))
    number_T = np.array([names.index(kind) for kind in kind_T])
    people = draw_people(users, len(names), rng)
    author_T, posted_T = draw_posts(number_T, people, rng)
    retweets = draw_retweets(number_T, author_T, posted_T, people, rng)
    write(folder, out, pictures, texts, people, author_T, posted_T, retweets)
    follows = sum(map(len, people.followees))
    return Adopted(users, follows, len(pictures), len(retweets), dict(Counter(kind_T)), left_out)


def refuse_places(folder: Path, out: Path) -> None:
    """Raises InputRejected or OSError where nothing can be read or written there."""
    if not folder.is_dir():
        raise InputRejected(f"{folder} is no folder: give one with pictures")
    if out.exists():
        raise InputRejected(f"{out} already exists: remove it, or choose another output folder")
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputRejected(f"{out} lies within {folder}: choose an output folder outside the pictures")
    out.parent.mkdir(parents=True, exist_ok=True)


def usable_pictures(folder: Path, progress: Progress) -> tuple[list[Picture], dict[str, str]]:
    """All below the folder by their paths, but those that cannot be used: these are named, with the reason."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    names = sorted(path.relative_to(folder) for path in found)
    pictures, left_out = [], {}
    for name in progress(names, len(names), "look at pictures"):
        try:
            small_HWC = decode_image((folder / name).read_bytes(), _LOOKED_AT)
            pictures.append(Picture(name, small_HWC.reshape(-1, 3).mean(axis=0)))
        except ImageRejected as error:
            left_out[name.as_posix()] = str(error)
    return pictures, left_out


def read_captions(folder: Path, pictures: list[Picture]) -> list[str]:
    """The words of each picture by captions.csv (file, text); none where it has none."""
    path = folder / CAPTIONS
    if not path.exists():
        return [""] * len(pictures)
    names, texts = {picture.name.as_posix() for picture in pictures}, dict[str, str]()
    try:
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True)
        if not {"file", "text"} <= set(rows.fieldnames or ()):
            raise InputRejected(f"{path} line 1: its columns must be file and text")
        for row in rows:
            name, text = row["file"], row["text"] or ""
            if name not in names:
                raise InputRejected(f"{path} line {rows.line_num}, field file: {name} is no picture that can be used")
            if len(text) > MAX_TEXT_LENGTH:
                raise InputRejected(f"{path} line {rows.line_num}, field text: has over {MAX_TEXT_LENGTH:,} characters")
            texts[name] = text
    except UnicodeDecodeError as error:
        raise InputRejected(f"{path} is not UTF-8: save the file as UTF-8") from error
    except csv.Error as error:
        raise InputRejected(f"{path} line {rows.line_num}: is no CSV ({error}): close and double quotes") from error
    return [texts.get(picture.name.as_posix(), "") for picture in pictures]


def kinds_of(pictures: list[Picture]) -> list[str]:
    """By the folder that each is in; where they are in one, by colour, as many of each kind."""
    folders = [picture.name.parts[0] if len(picture.name.parts) > 1 else "no folder" for picture in pictures]
    if len(set(folders)) > 1:
        return folders
    colour_T3 = np.stack([picture.colour for picture in pictures])
    colour_T3 = colour_T3 - colour_T3.mean(axis=0)
    along_T = colour_T3 @ np.linalg.svd(colour_T3, full_matrices=False)[2][0]  # where they differ most
    rank_T = np.argsort(np.argsort(along_T, kind="stable"))
    return [f"colour {1 + COLOURS * rank // len(pictures)}" for rank in rank_T.tolist()]


def write(
    folder: Path,
    out: Path,
    pictures: list[Picture],
    texts: list[str],
    people: People,
    author_T: npt.NDArray[np.int64],
    posted_T: npt.NDArray[np.int64],
    retweets: list[Retweet],
) -> None:
    """The dataset (docs/dataset.md), as CSV and the pictures."""
    with new_folder(out) as draft:
        with writing(draft, "users", UserRow, "csv") as append:
            append([{"user_id": user_id(user), "created_at": START} for user in range(len(people.followees))])
        with writing(draft, "follows", FollowRow, "csv") as append:
            append(
                [
                    {"follower_id": user_id(user), "followee_id": user_id(followee), "created_at": START}
                    for user, followees in enumerate(people.followees)
                    for followee in followees
                ]
            )
        with writing(draft, "tweets", TweetRow, "csv") as append:
            for number, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
                image = Path("pictures") / picture.name
                (draft / image).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / picture.name, draft / image)
                row = {"tweet_id": tweet_id(number), "author_id": user_id(author_T[number]), "text": text}
                append([row | {"created_at": moment(posted_T[number]), "image": image.as_posix(), "hidden_at": None}])
        with writing(draft, "retweets", RetweetRow, "csv") as append:
            append(
                [
                    {"user_id": user_id(user), "tweet_id": tweet_id(picture), "created_at": moment(at)}
                    for at, picture, user in retweets
                ]
            )


def user_id(user: int | np.int64) -> str:
    """From u001 on."""
    return f"u{user + 1:03}"


def tweet_id(picture: int) -> str:
    """From p0001 on."""
    return f"p{picture + 1:04}"


def moment(seconds: int | np.int64) -> datetime:
    """So long after START."""
    return START + timedelta(seconds=int(seconds))
