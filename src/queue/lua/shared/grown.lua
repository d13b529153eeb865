-- Memory that lines declare for their next attempt, after attempts that were killed for want of memory.
--
-- GROWN[line] = BYTES, which stands in for what the line says: in its lane, in the claim and in the limit of its process tree. The line stays as it is. It
-- is dropped where the line ends, and where an operator requeues it. Where it was lost, the next attempt declares what the line says.

local grown = { known = {} }

function grown.exist()
  if grown.any == nil then grown.any = redis.call('HLEN', GROWN) > 0 end
  return grown.any
end

-- Looks up many lines in few calls.
function grown.read(lines)
  if not grown.exist() then return end
  for i, value in ipairs(get_all(GROWN, lines)) do grown.known[lines[i]] = value end
end

-- The bytes that a line declares now, as text; false where that is what it says itself.
function grown.of(line)
  if not grown.exist() then return false end
  local value = grown.known[line]
  if value == nil then
    value = redis.call('HGET', GROWN, line)
    grown.known[line] = value
  end
  return value and string.match(value, '^%d+$') or false
end

-- The class of a line as the index has it.
function grown.class(class, line)
  local mem = grown.of(line)
  return mem and mem .. string.match(class, ':.*$') or class
end

-- The record of an attempt, with what it declared where that was not what the line says.
function grown.record(line, record)
  local mem = grown.of(line)
  return mem and '{"d":' .. mem .. ',' .. string.sub(record, 2) or record
end

function grown.set(line, bytes)
  redis.call('HSET', GROWN, line, bytes)
  grown.any, grown.known[line] = true, bytes
end

-- Call it after index_forget, which must find the lane.
function grown.drop(line)
  if not grown.exist() then return end
  redis.call('HDEL', GROWN, line)
  grown.known[line] = false
end
