-- A piece of a body that has no job yet, if so many came before it.
-- ARGV  id, number of pieces before, the piece, bytes that the endpoint may have, ms until it is forgotten
-- Reply {'ok' | 'room' | 'lost', bytes that it has}; lost: pieces before it are not there (any more)
local id, number, piece = ARGV[7], tonumber(ARGV[8]), ARGV[9]
local name = of('body', id)
local known = call('LLEN', name)
if known > number then
  return {'ok', bytes_used()}
elseif known < number then
  return {'lost', bytes_used()}
elseif bytes_used() + #piece > tonumber(ARGV[10]) then
  return {'room', bytes_used()}
end
call('RPUSH', name, piece)
call('PEXPIRE', name, ARGV[11])
call('HINCRBY', up, id, #piece)
call('INCRBY', bytes, #piece)
lives(up)
lives(bytes)
return {'ok', bytes_used()}
