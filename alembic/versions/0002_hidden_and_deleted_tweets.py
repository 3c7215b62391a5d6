"""hidden and deleted tweets

Revision: 0002, after 0001
"""

import sqlalchemy as sa

from alembic import op


revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    op.create_table('hides',
    sa.Column('user_id', sa.String(length=64), nullable=False),
    sa.Column('tweet_id', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['tweet_id'], ['tweets.tweet_id'], ),
    sa.ForeignKeyConstraint(['user_id'], ['users.user_id'], ),
    sa.PrimaryKeyConstraint('user_id', 'tweet_id')
    )
    with op.batch_alter_table('hides', schema=None) as batch_op:
        batch_op.create_index('ix_hides_tweet_id', ['tweet_id'], unique=False)

    op.create_table('deleted_tweets',
    sa.Column('tweet_id', sa.String(length=64), nullable=False),
    sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('image_key', sa.String(length=64), nullable=True),
    sa.PrimaryKeyConstraint('tweet_id')
    )
    with op.batch_alter_table('deleted_tweets', schema=None) as batch_op:
        batch_op.create_index('ix_deleted_tweets_image_key', ['image_key'], unique=False)

    with op.batch_alter_table('tweets', schema=None) as batch_op:
        batch_op.add_column(sa.Column('hidden_at', sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index('ix_tweets_image_key', ['image_key'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('tweets', schema=None) as batch_op:
        batch_op.drop_index('ix_tweets_image_key')
        batch_op.drop_column('hidden_at')

    with op.batch_alter_table('deleted_tweets', schema=None) as batch_op:
        batch_op.drop_index('ix_deleted_tweets_image_key')

    op.drop_table('deleted_tweets')
    with op.batch_alter_table('hides', schema=None) as batch_op:
        batch_op.drop_index('ix_hides_tweet_id')

    op.drop_table('hides')
