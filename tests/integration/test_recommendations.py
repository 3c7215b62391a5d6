import pytest

from tests.integration.running import Network, Service, fields, problem

pytestmark = pytest.mark.anyio


async def test_three_of_what_followees_offer_best_first(service: Service, network: Network) -> None:
    asked = [user for user in sorted(network.followees) if len(network.offered(user)) >= 3]
    assert len(asked) > 20
    for user in asked:
        answer = await service.client.get(f"/users/{user}/recommendations", params={"k": 3})
        assert answer.status_code == 200
        body = answer.json()
        scores = [item["score"] for item in body["items"]]
        tweets = [item["tweet_id"] for item in body["items"]]
        assert len(set(tweets)) == 3
        assert scores == sorted(scores, reverse=True)
        assert set(tweets) <= network.offered(user)
        assert [item["author_id"] for item in body["items"]] == [network.authors[tweet] for tweet in tweets]
        assert (body["user_id"], body["source"], body["candidates"]) == (user, "followees", len(network.offered(user)))


async def test_three_is_the_default_and_k_100_gives_all(service: Service, network: Network, reader: str) -> None:
    answer = await service.client.get(f"/users/{reader}/recommendations")
    everything = await service.recommended(reader, 100)
    assert answer.json()["items"] == everything[:3]
    assert {item["tweet_id"] for item in everything} == network.offered(reader)


async def test_the_score_is_the_sum_of_its_facets(service: Service, reader: str) -> None:
    items = await service.recommended(reader, 100)
    assert len({item["score"] for item in items}) > 1
    for item in items:
        assert item["score"] == pytest.approx(item["personal"] + item["social"], abs=1e-4)


@pytest.mark.parametrize("k", ["0", "-1", "101", "x", "", "1.5"])
async def test_a_wrong_k_is_named(service: Service, reader: str, k: str) -> None:
    answer = await service.client.get(f"/users/{reader}/recommendations", params={"k": k})
    assert fields(problem(answer, 422, "invalid-request")) == ["k"]


async def test_an_unknown_user_is_not_found(service: Service) -> None:
    body = problem(await service.client.get("/users/nobody/recommendations"), 404, "unknown-user")
    assert "nobody" in body["detail"]


@pytest.mark.parametrize("user", ["a%20b", "a.b", "ä", "a%0A", "a" * 65])
async def test_a_wrong_user_id_is_named(service: Service, user: str) -> None:
    answer = await service.client.get(f"/users/{user}/recommendations")
    assert fields(problem(answer, 422, "invalid-request")) == ["user_id"]
