import pytest

pytest.register_assert_rewrite("tests.chaos", "tests.failovers", "tests.ray_nodes", "tests.replicas")
