"""What a command tells in the end."""

from pydantic import BaseModel, ConfigDict


class Result(BaseModel):
    """Its fields are what --json prints, and their descriptions are in the verb's help; the methods are for people."""

    model_config = ConfigDict(frozen=True)

    def table(self) -> list[str]:
        """Lines in no colour."""
        return []

    def done(self) -> str:
        """What was made and where."""
        return ""

    def warnings(self) -> list[str]:
        """What to look at."""
        return []


def told_fields(result: type[Result]) -> dict[str, str]:
    """The fields of --json, and what they mean."""
    return {name: field.description or "" for name, field in result.model_fields.items() if not field.exclude}


def described(result: type[Result]) -> str:
    """The same for the end of a help text."""
    fields = told_fields(result)
    width = max(map(len, fields))
    return "\n".join(f"  {name:<{width}}  {meaning}" for name, meaning in fields.items())
