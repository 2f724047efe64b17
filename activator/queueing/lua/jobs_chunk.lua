-- A piece of a body that has no job yet, if so many came before it.
-- ARGV  id, number of pieces before, the piece, bytes elsewhere, most bytes, ms until it is forgotten
-- Reply 'ok' | 'room' | 'lost': pieces before it are not there (any more)
local id, number, piece = ARGV[7], tonumber(ARGV[8]), ARGV[9]
local name = of('body', id)
local known = call('LLEN', name)
if known > number then
  return 'ok'
elseif known < number then
  return 'lost'
elseif not has_room(#piece, tonumber(ARGV[10]), tonumber(ARGV[11])) then
  return 'room'
end
call('RPUSH', name, piece)
call('PEXPIRE', name, ARGV[12])
call('HINCRBY', up, id, #piece)
call('HINCRBY', meta, 'bytes', #piece)
return 'ok'
