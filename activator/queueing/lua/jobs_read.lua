-- What there is of one job; and who reads it.
-- ARGV  'get', id                     -> {'ok', record…}
--       'body', id, holder            -> {'ok', the first piece of the body, or nothing if there is none}
--       'page', id, attempt, at, bytes -> {'ok', job…, trailers, pieces in all, pieces…}
--       'events', id                  -> {'ok', event…}
--       'place', id                   -> {'ok', place or ''}
--       'join' | 'leave', id          -> {'ok', job…}
--       'look', id                    -> {'ok', 1 if it waits in line}
--       'abandon', id, reason, detail -> {'ok', 1 if it waited in line: the reader has left}
-- or {'none'} | {'version'} | {'superseded', state}
local what, id = ARGV[7], ARGV[8]

local function leave(job)
  if call('SREM', of('reads', me), id) == 1 then
    forget_activator(me)
    count_readers(job, job.rd - 1)
  end
end

if what == 'events' then
  local events = call('LRANGE', of('ev', id), 0, -1)
  return #events > 0 and {'ok', unpack(events)} or {'none'}
elseif what == 'place' then
  return {'ok', standing(id)}
end

local job, why = load(id)
if not job then
  return {why}
end
if what == 'get' then
  return {'ok', unpack(record(job))}
elseif what == 'body' then
  if job.h ~= ARGV[9] then
    return {'superseded', job.s}
  end
  return {'ok', call('LINDEX', of('body', id), 0) or nil}
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
elseif what == 'look' or (what == 'abandon' and not WAITING[job.s]) then
  return {'ok', WAITING[job.s] and '1' or '0'}
elseif what == 'join' then
  write_anyway()
  read_by_me(job)
elseif what == 'leave' then
  leave(job)
elseif what == 'abandon' then
  write_anyway()
  leave(job)
  if job.d == '0' and job.rd == '0' then
    let_go(job)
    finish(job, 'cancelled', ARGV[9], ARGV[10])
  end
  save(job)
  return {'ok', '1'}
end
save(job)
return {'ok', unpack(shown(job))}
