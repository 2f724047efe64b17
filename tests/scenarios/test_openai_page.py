"""The examples of docs/openai.md do what the page says, pasted as they are."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import yaml

from activator.app import build

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "openai.md"
EXAMPLE = REPOSITORY / "config" / "examples" / "openai.yaml"


def blocks(language: str) -> list[str]:
    """The page's code in this language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(40):
        told, _ = await process.communicate()
    assert process.returncode == 0
    return told.decode()


async def test_the_pages_examples_can_be_pasted(tmp_path: Path) -> None:
    config = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    config["server"] |= {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    for endpoint in config["endpoints"]:  # long enough for a sign of life
        command = endpoint["backend"]["command"]
        command[command.index("--load-seconds") + 1] = "1.5"
    path = tmp_path / "activator.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    activator = build(path)
    await activator.start()
    try:
        here = f"127.0.0.1:{activator.data_port}"
        pythons = [code.replace("127.0.0.1:8080", here) for code in blocks("python")]
        (shell,) = blocks("sh")
        said, background, streamed = await asyncio.gather(
            *(run(sys.executable, "-c", code) for code in pythons),
            run("sh", "-c", shell.replace("127.0.0.1:8080", here)),
        )
    finally:
        await activator.stop()

    listed, text, code = said.splitlines()[0], said.splitlines()[1:-1], said.splitlines()[-1]
    assert listed == "['tiny', 'gpt-4o-mini', 'small']"
    assert " ".join(text).strip()
    assert code == "model_not_found"
    status, *told = background.splitlines()
    assert status == "queued"
    assert " ".join(told).strip()
    lines = streamed.splitlines()
    assert lines[0].startswith(": waiting for small, place 1 in line")
    assert "data: [DONE]" in lines
    assert json.loads(lines[-1])["id"] == "small"
