-- What time has done, in bounded steps; and what must be kept alive is.
-- ARGV  how many jobs to look at, ms that keys of the endpoint live on without a sweep, ids this activator reads…
-- Reply {1 if there is more, deleted, job that has ended, …}
local most, life = tonumber(ARGV[7]), ARGV[8]
write_anyway()

local function delete(job)
  local id = job.id
  free_key(job)
  call('HINCRBY', meta, 'bytes', -tonumber(job.rm))
  call('HINCRBY', meta, 'n:' .. job.s, -1)
  for _, act in ipairs(call('SMEMBERS', acts)) do
    if call('SREM', of('reads', act), id) == 1 then
      forget_activator(act)
    end
  end
  call('DEL', of('job', id), of('env', id), of('body', id), of('out', id), of('ev', id))
  for _, name in ipairs({line, later, held, all, due, hooks}) do
    call('ZREM', name, id)
  end
  call('PUBLISH', told .. ':' .. id, '')
end

-- Jobs have ended by their expiry: nobody has swept for long.
local function recount()
  local bytes, states = 0, {}
  for _, id in ipairs(call('ZRANGE', all, 0, -1)) do
    local values = call('HMGET', of('job', id), 'rm', 's')
    bytes = bytes + tonumber(values[1] or '0')
    if values[2] then
      states[values[2]] = (states[values[2]] or 0) + 1
    end
  end
  for _, size in ipairs(call('HVALS', up)) do
    bytes = bytes + tonumber(size)
  end
  local age = call('HGET', meta, 'age')
  call('DEL', meta)
  call('HSET', meta, 'bytes', string.format('%d', bytes))
  if age then
    call('HSET', meta, 'age', age)
  end
  for state, count in pairs(states) do
    call('HSET', meta, 'n:' .. state, count)
  end
end

for _, id in ipairs(call('HKEYS', up)) do
  if call('EXISTS', of('body', id)) == 0 then
    call('HINCRBY', meta, 'bytes', -tonumber(call('HGET', up, id)))
    call('HDEL', up, id)
  end
end
for i = 9, #ARGV do  -- again, in case that others took this activator for gone
  local job = load(ARGV[i])
  if job then
    read_by_me(job)
    save(job)
  end
end

local reply, deleted, vanished = {0, 0}, 0, false
local ids = call('ZRANGEBYSCORE', due, '-inf', stamp(now), 'LIMIT', 0, most)
for _, id in ipairs(ids) do
  local job, why = load(id)
  if not job then
    if why == 'version' then
      call('ZADD', due, stamp(now + 60), id)
    else
      vanished = true
      for _, name in ipairs({line, later, held, all, due, hooks}) do
        call('ZREM', name, id)
      end
    end
  elseif ENDED[job.s] then
    if now >= job.en + retention then
      delete(job)
      deleted = deleted + 1
    else
      save(job)
    end
  else
    if job.un ~= '0' and now >= job.un + grace then
      let_go(job)
      finish(job, 'cancelled', 'unread', 'nobody has waited for its answer for jobs.joinGrace')
      reply[#reply + 1] = shown(job)
    elseif WAITING[job.s] and now >= tonumber(job.x) then
      let_go(job)
      finish(job, 'expired', 'expired', 'it has not begun within jobs.ttl')
      reply[#reply + 1] = shown(job)
    end
    save(job)
  end
end
if vanished then
  recount()
end

for _, id in ipairs(call('SMEMBERS', of('claims', me))) do
  local job, why = load(id)
  if job then
    keep(job)
  elseif why == 'none' then
    call('SREM', of('claims', me), id)
  end
end
for _, act in ipairs(call('SMEMBERS', acts)) do
  call('PEXPIRE', of('claims', act), life)
  call('PEXPIRE', of('reads', act), life)
  forget_activator(act)
end
if call('EXISTS', all, up) == 0 then
  call('DEL', meta)
end
for _, name in ipairs({line, later, held, all, due, hooks, meta, up, acts}) do
  call('PEXPIRE', name, life)
end
reply[1], reply[2] = #ids == most and 1 or 0, deleted
return reply
