"""the network and the model versions

Revision: 0001, the first
"""

import sqlalchemy as sa

from alembic import op


revision = '0001'
down_revision = None


def upgrade() -> None:
    op.create_table('model_versions',
    sa.Column('version', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('activated_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('metrics', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('version')
    )
    op.create_table('users',
    sa.Column('user_id', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('user_id')
    )
    op.create_table('follows',
    sa.Column('follower_id', sa.String(length=64), nullable=False),
    sa.Column('followee_id', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['followee_id'], ['users.user_id'], ),
    sa.ForeignKeyConstraint(['follower_id'], ['users.user_id'], ),
    sa.PrimaryKeyConstraint('follower_id', 'followee_id')
    )
    with op.batch_alter_table('follows', schema=None) as batch_op:
        batch_op.create_index('ix_follows_followee_id', ['followee_id'], unique=False)

    op.create_table('tweets',
    sa.Column('tweet_id', sa.String(length=64), nullable=False),
    sa.Column('author_id', sa.String(length=64), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('image_key', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['author_id'], ['users.user_id'], ),
    sa.PrimaryKeyConstraint('tweet_id')
    )
    with op.batch_alter_table('tweets', schema=None) as batch_op:
        batch_op.create_index('ix_tweets_author_id_created_at', ['author_id', 'created_at'], unique=False)

    op.create_table('retweets',
    sa.Column('user_id', sa.String(length=64), nullable=False),
    sa.Column('tweet_id', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['tweet_id'], ['tweets.tweet_id'], ),
    sa.ForeignKeyConstraint(['user_id'], ['users.user_id'], ),
    sa.PrimaryKeyConstraint('user_id', 'tweet_id')
    )
    with op.batch_alter_table('retweets', schema=None) as batch_op:
        batch_op.create_index('ix_retweets_tweet_id', ['tweet_id'], unique=False)

    op.create_table('tweet_vectors',
    sa.Column('version', sa.String(length=64), nullable=False),
    sa.Column('tweet_id', sa.String(length=64), nullable=False),
    sa.Column('vector', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['tweet_id'], ['tweets.tweet_id'], ),
    sa.ForeignKeyConstraint(['version'], ['model_versions.version'], ),
    sa.PrimaryKeyConstraint('version', 'tweet_id')
    )


def downgrade() -> None:
    op.drop_table('tweet_vectors')
    with op.batch_alter_table('retweets', schema=None) as batch_op:
        batch_op.drop_index('ix_retweets_tweet_id')

    op.drop_table('retweets')
    with op.batch_alter_table('tweets', schema=None) as batch_op:
        batch_op.drop_index('ix_tweets_author_id_created_at')

    op.drop_table('tweets')
    with op.batch_alter_table('follows', schema=None) as batch_op:
        batch_op.drop_index('ix_follows_followee_id')

    op.drop_table('follows')
    op.drop_table('users')
    op.drop_table('model_versions')
