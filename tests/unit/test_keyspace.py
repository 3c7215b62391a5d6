"""Where keys are, on one server and on a cluster: no server is asked here."""

from collections import Counter

import pytest
from redis.asyncio import Redis, SSLConnection
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError

from contract.cluster import Cluster, is_cluster
from contract.embedded import open_store
from contract.environment import StoreSettings
from contract.errors import StoreUnavailable
from contract.keyspace import Keyspace

IDS = [f"u{n:05}" for n in range(4_000)]


def cluster(parts: int = 16, url: str = "redis+cluster://one:7000,two:7001") -> Cluster:
    return Cluster(url, parts, 2.0)


def test_on_one_server_keys_are_named_as_ever() -> None:
    keys = Keyspace(Redis(), "ns")
    assert keys.parts == [keys.home]
    assert (keys.key("follow", "u1"), keys.home.key("active")) == ("ns:follow:u1", "ns:active")
    assert keys.of("u1") is keys.having("ns:follow:u1") is keys.home
    assert keys.grouped(IDS, keys.of) == {keys.home: IDS}


def test_all_keys_of_an_id_are_in_one_slot_with_their_log() -> None:
    keys = Keyspace(cluster(), "ns")
    for id_ in IDS[:100]:
        part = keys.of(id_)
        names = (keys.key("follow", id_), part.key("v", "v1", "u", id_), part.key("changes"), part.key("whole"))
        assert len({key_slot(name.encode()) for name in names}) == 1
        assert {keys.having(name) for name in names} == {part}
    assert keys.home not in keys.grouped(IDS, keys.of)


@pytest.mark.parametrize("parts", [1, 3, 16, 64])
def test_parts_are_spread_evenly_over_slots_and_ids_over_parts(parts: int) -> None:
    keys = Keyspace(cluster(parts), "another-namespace")
    slots = [key_slot(part.prefix.encode()) for part in keys.parts[1:]]
    assert [slot * parts // 16_384 for slot in slots] == list(range(parts))
    sizes = Counter(keys.of(id_) for id_ in IDS)
    assert len(sizes) == parts
    assert max(sizes.values()) < 1.5 * len(IDS) / parts
    groups = keys.grouped(IDS, keys.of)
    assert sorted(id_ for some in groups.values() for id_ in some) == IDS


def test_another_process_finds_the_same_part() -> None:
    """It must for ever, or what is there is not found any more."""
    keys = Keyspace(cluster(), "imagetweets")
    assert keys.key("follow", "u00001") == "{imagetweets:15-3}:follow:u00001"


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("redis+cluster://h:1", True),
        ("rediss+cluster://u:p@h:1,i:2", True),
        ("redis://h:1/0", False),
        ("unix:///var/valkey.sock", False),
        ("redis://[::1", False),
    ],
)
def test_a_cluster_s_url_says_so(url: str, known: bool) -> None:
    assert is_cluster(url) == known


def test_a_url_names_servers_user_and_password() -> None:
    found = cluster(url="rediss+cluster://me:p%2Cw@one:7000,two")
    assert (found._seeds, found._tls) == ([("one", 7000), ("two", 6379)], True)
    assert (found._options["username"], found._options["password"]) == ("me", "p,w")


@pytest.mark.parametrize("url", ["redis+cluster://one:7000/3", "redis+cluster://one:seven", "redis+cluster://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        cluster(url=url)


@pytest.mark.anyio
async def test_a_url_that_is_none_is_told_without_its_password() -> None:
    with pytest.raises(StoreUnavailable, match=r"not valid .*me:\*\*\*@one:seven.*redis\+cluster://host") as caught:
        async with open_store("redis+cluster://me:hush@one:seven", StoreSettings()):
            pass
    assert "hush" not in str(caught.value)


@pytest.mark.anyio
async def test_a_cluster_that_does_not_answer_is_an_error_of_redis() -> None:
    keys = Keyspace(cluster(url="redis+cluster://127.0.0.1:1"), "ns")
    with pytest.raises(RedisConnectionError, match="no server of the cluster"):
        await keys.home.redis.get("{ns}:active")
    with pytest.raises(RedisConnectionError, match="no server of the cluster"):
        await keys.read([(part, part.key("changes")) for part in keys.parts], lambda pipeline, key: pipeline.get(key))


def test_connections_with_tls_are_made() -> None:
    client = cluster(url="rediss+cluster://one:7000?ssl_cert_reqs=none").client("{ns}")
    made = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    assert isinstance(made, SSLConnection)
