"""how often a key may ask

Revision: 0004, after 0003
"""

import sqlalchemy as sa

from alembic import op


revision = '0004'
down_revision = '0003'


def upgrade() -> None:
    op.add_column('api_keys', sa.Column('per_minute', sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column('api_keys', 'per_minute')
