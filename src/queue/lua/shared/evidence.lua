-- The records of attempts: EVIDENCE[id] is one JSON object a line.

-- A record with the moment at which it is taken, by this server's clock: "z" is milliseconds after its end, which is by the clock of a worker. Ages go by it.
local function dated(record, now)
  local ended = string.match(record, '"e":(%d+)')
  if not ended then return record end
  return '{"z":' .. int(now - tonumber(ended)) .. ',' .. string.sub(record, 2)
end

-- Appends an attempt's record, one JSON object a line, keeping the last 32.
local function evidence_add(id, record)
  record = dated(record, now_ms())
  local old = redis.call('HGET', EVIDENCE, id)
  if old then
    local _, count = string.gsub(old, '\n', '\n')
    if count >= 31 then old = string.sub(old, (string.find(old, '\n', 1, true)) + 1) end
    record = old .. '\n' .. record
  end
  redis.call('HSET', EVIDENCE, id, record)
end
