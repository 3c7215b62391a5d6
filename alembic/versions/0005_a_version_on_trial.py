"""a version on trial

Revision: 0005, after 0004
"""

import sqlalchemy as sa

from alembic import op


revision = '0005'
down_revision = '0004'


def upgrade() -> None:
    op.add_column('model_versions', sa.Column('share', sa.Float(), nullable=True))
    op.add_column('model_versions', sa.Column('on_trial_since', sa.DateTime(timezone=True), nullable=True))
    op.add_column('retweets', sa.Column('recommended_by', sa.String(length=64), nullable=True))
    op.create_index('ix_retweets_recommended_by', 'retweets', ['recommended_by'])


def downgrade() -> None:
    op.drop_index('ix_retweets_recommended_by', 'retweets')
    op.drop_column('retweets', 'recommended_by')
    op.drop_column('model_versions', 'on_trial_since')
    op.drop_column('model_versions', 'share')
