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


def described(result: type[Result]) -> str:
    """Fields and what they mean, for the end of a help text."""
    fields = {name: field for name, field in result.model_fields.items() if not field.exclude}
    width = max(map(len, fields))
    return "\n".join(f"  {name:<{width}}  {field.description}" for name, field in fields.items())
