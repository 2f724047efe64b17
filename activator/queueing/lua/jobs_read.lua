-- What there is of one job; and who reads it.
-- ARGV  'get', id                     -> {'ok', record…}
--       'page', id, attempt, at, bytes -> {'ok', job…, trailers, pieces in all, pieces…}
--       'events', id                  -> {'ok', event…}
--       'place', id                   -> {'ok', place or ''}
--       'join' | 'leave', id          -> {'ok', job…}
-- or {'none'} | {'version'} | {'superseded', state}
local what, id = ARGV[7], ARGV[8]

if what == 'events' then
  local events = call('LRANGE', of('ev', id), 0, -1)
  return #events > 0 and {'ok', unpack(events)} or {'none'}
elseif what == 'place' then
  local ahead, rank = 0, call('ZRANK', held, id)
  if not rank then
    ahead, rank = call('ZCARD', held), call('ZRANK', line, id)
  end
  return {'ok', rank and ahead + rank + 1 or ''}
end

local job, why = load(id)
if not job then
  return {why}
end
if what == 'get' then
  return {'ok', unpack(record(job))}
elseif what == 'page' then
  local attempt, at, most = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
  if attempt ~= '0' and attempt ~= job.a then
    return {'superseded', job.s}
  end
  local reply = {'ok', unpack(shown(job))}
  local name = of('out', id)
  reply[#reply + 1] = job.tr
  reply[#reply + 1] = call('LLEN', name)
  local size, batch, first = 0, 4, #reply
  repeat
    local pieces = call('LRANGE', name, at, at + batch - 1)
    for _, piece in ipairs(pieces) do
      size = size + #piece
      if size > most and #reply > first + (ARGV[10] == '0' and 1 or 0) then
        return reply
      end
      reply[#reply + 1] = piece
    end
    at, batch = at + #pieces, math.min(batch * 2, 512)
  until #pieces == 0
  return reply
elseif what == 'join' then
  write_anyway()
  read_by_me(job)
elseif what == 'leave' and call('SREM', of('reads', me), id) == 1 then
  forget_activator(me)
  count_readers(job, job.rd - 1)
end
save(job)
return {'ok', unpack(shown(job))}
