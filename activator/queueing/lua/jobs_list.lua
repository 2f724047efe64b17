-- Jobs of an endpoint.
-- ARGV  'recent', where it goes on or '', how many to look at, states… -> {looked at, where it goes on, record…}
--       'hooks', how many at most, lease in seconds                   -> {record with its number of tries, …}
--       'hook', id, seconds until it is due again or ''               -> 'ok'
local what = ARGV[7]
if what == 'recent' then
  local from, wanted, states = 0, tonumber(ARGV[9]), {}
  for i = 10, #ARGV do
    states[ARGV[i]] = true
  end
  -- behind the last one that was looked at: others come and go in front of it, and it may be gone itself
  local score, last = string.match(ARGV[8], '^(%S+) (.*)$')
  if last then
    local rank = call('ZREVRANK', all, last)
    from = rank and rank + 1 or call('ZCOUNT', all, '(' .. score, '+inf')
  end
  local ids = call('ZREVRANGE', all, from, from + wanted - 1)
  last = ids[#ids]
  local reply = {#ids, last and call('ZSCORE', all, last) .. ' ' .. last or ''}
  for _, id in ipairs(ids) do
    local job = load(id)
    if job and (#ARGV < 10 or states[job.s]) then
      reply[#reply + 1] = record(job)
    end
  end
  return reply
elseif what == 'hooks' then
  write_anyway()
  local reply = {}
  for _, id in ipairs(call('ZRANGEBYSCORE', hooks, '-inf', stamp(now), 'LIMIT', 0, ARGV[8])) do
    local job, why = load(id)
    if job then
      set(job, 'ht', job.ht + 1)
      save(job)
      call('ZADD', hooks, stamp(now + ARGV[9]), id)
      local values = record(job)
      values[#values + 1] = job.ht
      reply[#reply + 1] = values
    elseif why == 'none' then
      call('ZREM', hooks, id)
    else
      call('ZADD', hooks, stamp(now + ARGV[9]), id)
    end
  end
  return reply
elseif ARGV[9] == '' then
  call('ZREM', hooks, ARGV[8])
else
  write_anyway()
  call('ZADD', hooks, 'XX', stamp(now + ARGV[9]), ARGV[8])
end
return 'ok'
