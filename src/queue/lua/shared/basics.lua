-- The stop command, numbers, the clock of the server, and commands with many arguments.

-- The field of TODO that tells every worker to stop. It is no task.
local STOP_FIELD = 'WORKER_COMMAND_CLOSE'

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function int(n) return string.format('%.0f', n) end

-- Calls a variadic command with at most 500 arguments at a time; returns the sum of the replies. flag, if any, goes before them.
local function bulk(command, key, args, flag)
  local sum = 0
  for i = 1, #args, 500 do
    local last = math.min(i + 499, #args)
    if flag then
      sum = sum + redis.call(command, key, flag, unpack(args, i, last))
    else
      sum = sum + redis.call(command, key, unpack(args, i, last))
    end
  end
  return sum
end

-- The values of many fields, in order, in few calls. Only for hashes whose values are small.
local function get_all(key, fields)
  if #fields <= 500 then return #fields > 0 and redis.call('HMGET', key, unpack(fields)) or {} end
  local values = {}
  for i = 1, #fields, 500 do
    for k, value in ipairs(redis.call('HMGET', key, unpack(fields, i, math.min(i + 499, #fields)))) do values[i + k - 1] = value end
  end
  return values
end
