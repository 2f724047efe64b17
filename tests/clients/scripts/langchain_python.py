"""LangChain's ChatOpenAI. Prints what it was told, as JSON."""

import asyncio
import json
import sys

import openai
from langchain_openai import ChatOpenAI

BASE, TIMEOUT = sys.argv[1], 1.5
ASKED = "Why does the oven sleep?"


def chat(model, **keys):
    return ChatOpenAI(
        model=model, base_url=BASE, api_key="none", timeout=TIMEOUT, max_tokens=9, **keys
    )


def stream():
    return "".join(part.text for part in chat("stream", max_retries=0).stream(ASKED))


def plain():
    return chat("plain", max_retries=12).invoke(ASKED).text


async def later_stream():
    model = chat("later-stream", max_retries=0)
    return "".join([part.text async for part in model.astream(ASKED)])


async def later_plain():
    return (await chat("later-plain", max_retries=12).ainvoke(ASKED)).text


async def response():
    model = chat("response", max_retries=0, use_responses_api=True)
    return "".join([part.text async for part in model.astream(ASKED)])


def missing():
    try:
        chat("huge", max_retries=0).invoke(ASKED)
    except openai.NotFoundError as error:
        return error.code


async def main():
    cases = {
        "stream": asyncio.to_thread(stream),
        "plain": asyncio.to_thread(plain),
        "later stream": later_stream(),
        "later plain": later_plain(),
        "response": response(),
        "missing": asyncio.to_thread(missing),
    }
    print(json.dumps(dict(zip(cases, await asyncio.gather(*cases.values()), strict=True))))


asyncio.run(main())
