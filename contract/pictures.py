"""Pictures that no tweet shows any more, removed from the store."""

import asyncio

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.blobs import BlobStore
from contract.tables import DeletedTweet, Tweet
from contract.transactions import changing, hold_picture


async def remove_unshown(engine: AsyncEngine, blobs: BlobStore, key: str) -> bool:
    """Remove a picture unless a tweet shows it; whether none does. Deleted tweets name it no more then.

    Nobody posts or deletes a tweet with this picture meanwhile. Raises SQLAlchemyError, OSError.
    """
    async with changing(engine) as connection:
        await hold_picture(connection, key)
        unshown = await connection.scalar(select(Tweet.tweet_id).where(Tweet.image_key == key).limit(1)) is None
        if unshown:
            await asyncio.to_thread(blobs.delete, key)
        await connection.execute(update(DeletedTweet).where(DeletedTweet.image_key == key).values(image_key=None))
    return unshown
