"""LiteLLM as a client. Prints what it was told, as JSON."""

import asyncio
import json
import sys

import litellm

BASE, TIMEOUT = sys.argv[1], 1.5
MESSAGES = [{"role": "user", "content": "Why does the oven sleep?"}]
KEYS = {"api_base": BASE, "api_key": "none", "timeout": TIMEOUT}
litellm.suppress_debug_info = True


def stream():
    parts = litellm.completion(
        model="openai/stream", messages=MESSAGES, max_tokens=9, stream=True, max_retries=0, **KEYS
    )
    return "".join(part.choices[0].delta.content or "" for part in parts)


def plain():
    said = litellm.completion(
        model="openai/plain", messages=MESSAGES, max_tokens=9, max_retries=12, **KEYS
    )
    return said.choices[0].message.content


async def later_stream():
    parts = await litellm.acompletion(
        model="openai/later-stream", messages=MESSAGES, max_tokens=9, stream=True, max_retries=0,
        **KEYS,
    )  # fmt: skip
    return "".join([part.choices[0].delta.content or "" async for part in parts])


async def later_plain():
    said = await litellm.acompletion(
        model="openai/later-plain", messages=MESSAGES, max_tokens=9, max_retries=12, **KEYS
    )
    return said.choices[0].message.content


async def background():
    said = await litellm.aresponses(
        model="openai/background", input="Why?", background=True, **KEYS
    )
    first = said.status
    while said.status in ("queued", "in_progress"):
        await asyncio.sleep(0.1)
        said = await litellm.aget_responses(said.id, **KEYS)
    text = "".join(part.text for item in said.output for part in item.content)
    return {"first": first, "last": said.status, "text": text}


def missing():
    try:
        litellm.completion(model="openai/huge", messages=MESSAGES, max_retries=0, **KEYS)
    except litellm.NotFoundError as error:
        return "model_not_found" if "does not exist" in str(error) else str(error)


async def main():
    cases = {
        "stream": asyncio.to_thread(stream),
        "plain": asyncio.to_thread(plain),
        "later stream": later_stream(),
        "later plain": later_plain(),
        "background": background(),
        "missing": asyncio.to_thread(missing),
    }
    print(json.dumps(dict(zip(cases, await asyncio.gather(*cases.values()), strict=True))))


asyncio.run(main())
