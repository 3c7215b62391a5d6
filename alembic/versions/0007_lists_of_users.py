"""lists of users

Revision: 0007, after 0006

Ids are sorted by their bytes, whatever the locale of PostgreSQL's database; followers are found in that order; and only
users who leave are in the index of those. A service that runs meanwhile on PostgreSQL has statements prepared for the
columns as they were, which fail until it is started anew.
"""

import sqlalchemy as sa

from alembic import op


revision = '0007'
down_revision = '0006'

IDS = {
    'users': ('user_id',),
    'tweets': ('tweet_id', 'author_id', 'image_key'),
    'follows': ('follower_id', 'followee_id'),
    'retweets': ('user_id', 'tweet_id', 'recommended_by'),
    'hides': ('user_id', 'tweet_id'),
    'deleted_tweets': ('tweet_id', 'image_key'),
    'deleted_users': ('user_sha256',),
    'model_versions': ('version',),
    'tweet_vectors': ('version', 'tweet_id'),
    'api_keys': ('key_id', 'name', 'scopes', 'secret_sha256'),
}
LEAVES = sa.text('leaving_at IS NOT NULL')


def upgrade() -> None:
    op.drop_index('ix_users_leaving_at', 'users')
    op.drop_index('ix_follows_followee_id', 'follows')
    collate('"C"')
    op.create_index('ix_users_leaving_at', 'users', ['leaving_at'], sqlite_where=LEAVES, postgresql_where=LEAVES)
    op.create_index('ix_follows_followee_id_follower_id', 'follows', ['followee_id', 'follower_id'])


def downgrade() -> None:
    op.drop_index('ix_follows_followee_id_follower_id', 'follows')
    op.drop_index('ix_users_leaving_at', 'users')
    collate('pg_catalog."default"')
    op.create_index('ix_follows_followee_id', 'follows', ['followee_id'])
    op.create_index('ix_users_leaving_at', 'users', ['leaving_at'])


def collate(collation: str) -> None:
    """SQLite sorts by bytes as it is. PostgreSQL writes no row anew for this, only the indexes."""
    if op.get_context().dialect.name == 'postgresql':
        for table, columns in IDS.items():
            changes = [f'ALTER COLUMN {column} TYPE VARCHAR(64) COLLATE {collation}' for column in columns]
            op.execute(f'ALTER TABLE {table} {", ".join(changes)}')
