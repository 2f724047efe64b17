"""openai for Python, in whichever version is installed. Prints what it was told, as JSON."""

import asyncio
import json
import sys
import time

import openai

BASE, TIMEOUT = sys.argv[1], 1.5
MESSAGES = [{"role": "user", "content": "Why does the oven sleep?"}]
KEYS = {"base_url": BASE, "api_key": "none", "timeout": TIMEOUT}
ONCE = openai.OpenAI(max_retries=0, **KEYS)
AGAIN = openai.OpenAI(max_retries=12, **KEYS)
LATER = openai.AsyncOpenAI(max_retries=0, **KEYS)
LATER_AGAIN = openai.AsyncOpenAI(max_retries=12, **KEYS)
RESPONSES = hasattr(ONCE, "responses")


def stream():
    """Outlasts the timeout without being tried again."""
    parts = ONCE.chat.completions.create(
        model="stream", messages=MESSAGES, max_tokens=9, stream=True
    )
    return "".join(part.choices[0].delta.content or "" for part in parts)


def plain():
    """Is given up after the timeout, and tried again until it is answered."""
    said = AGAIN.chat.completions.create(model="plain", messages=MESSAGES, max_tokens=9)
    return said.choices[0].message.content


async def later_stream():
    parts = await LATER.chat.completions.create(
        model="later-stream", messages=MESSAGES, max_tokens=9, stream=True
    )
    return "".join([part.choices[0].delta.content or "" async for part in parts])


async def later_plain():
    said = await LATER_AGAIN.chat.completions.create(
        model="later-plain", messages=MESSAGES, max_tokens=9
    )
    return said.choices[0].message.content


async def response():
    said = await LATER.responses.create(model="response", input="Why?", stream=True)
    return [event.sequence_number async for event in said]


async def background():
    """Nobody waits longer than for one answer."""
    said = await LATER.responses.create(model="background", input="Why?", background=True)
    seen = [said.status]
    while said.status in ("queued", "in_progress"):
        await asyncio.sleep(0.1)
        said = await LATER.responses.retrieve(said.id)
        if said.status != seen[-1]:
            seen.append(said.status)
    cancelled = await LATER.responses.create(model="background", input="Why?", background=True)
    await LATER.responses.cancel(cancelled.id)
    cancelled = await LATER.responses.retrieve(cancelled.id)
    text = "".join(part.text for item in said.output for part in item.content)
    return {"first": seen[0], "last": seen[-1], "text": text, "cancelled": cancelled.status}


async def resumed():
    """Cut off after five events, and gone on with from there."""
    events = await LATER.responses.create(
        model="resumed", input="Why?", background=True, stream=True, max_output_tokens=20
    )
    numbers, name = [], ""
    async for event in events:
        name = name or event.response.id
        numbers.append(event.sequence_number)
        if len(numbers) == 5:
            break
    await events.close()
    rest = await LATER.get(
        f"/responses/{name}",
        cast_to=object,
        options={"params": {"stream": "true", "starting_after": numbers[-1]}},
        stream=True,
        stream_cls=openai.AsyncStream[object],
    )
    async for event in rest:
        numbers.append(event["sequence_number"])
    return numbers


def missing():
    try:
        ONCE.chat.completions.create(model="huge", messages=MESSAGES)
    except openai.NotFoundError as error:
        return error.code


async def main():
    began = time.monotonic()
    cases = {
        "stream": asyncio.to_thread(stream),
        "plain": asyncio.to_thread(plain),
        "later stream": later_stream(),
        "later plain": later_plain(),
        "missing": asyncio.to_thread(missing),
    }
    if RESPONSES:
        cases |= {"response": response(), "background": background(), "resumed": resumed()}
    said = dict(zip(cases, await asyncio.gather(*cases.values()), strict=True))
    said["models"] = [model.id for model in ONCE.models.list()]
    said["took"] = time.monotonic() - began
    said["version"] = openai.__version__
    print(json.dumps(said))


asyncio.run(main())
