"""Small asyncio pieces that know no domain: supervised tasks, deadlines on a coarse clock."""
