"""users who are deleted

Revision: 0006, after 0005
"""

import sqlalchemy as sa

from alembic import op


revision = '0006'
down_revision = '0005'


def upgrade() -> None:
    op.add_column('users', sa.Column('leaving_at', sa.DateTime(timezone=True), nullable=True))
    op.create_index('ix_users_leaving_at', 'users', ['leaving_at'])
    op.create_table(
        'deleted_users',
        sa.Column('user_sha256', sa.String(length=64), nullable=False),
        sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('user_sha256'),
    )


def downgrade() -> None:
    op.drop_table('deleted_users')
    op.drop_index('ix_users_leaving_at', 'users')
    op.drop_column('users', 'leaving_at')
