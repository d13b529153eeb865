-- The event log: what one call has to say is one entry of the stream EVENTS, whose field "e" is lines of parts with tabs between them. queue/events.rs
-- reads them. It is written last.

local events = {}

-- A line in the log; a long one, or one with a control character, by its SHA-1 and its beginning.
local function brief(line)
  if #line <= 200 and not string.find(line, '%c') then return line end
  return '\1' .. redis.sha1hex(line) .. string.gsub(string.sub(line, 1, 80), '%c', ' ')
end

-- Appends an entry to a stream of about so many entries. Its bytes are bounded too, which about one call of a hundred checks. Never makes a call fail.
local function append(stream, entries, ...)
  local id = redis.pcall('XADD', stream, 'MAXLEN', '~', entries, '*', ...)
  if type(id) == 'string' and string.find(id, '00-', 1, true) then
    local used = redis.pcall('MEMORY', 'USAGE', stream, 'SAMPLES', 20)
    if type(used) == 'number' and used > 16777216 then
      redis.pcall('XTRIM', stream, 'MAXLEN', '~', math.floor(redis.call('XLEN', stream) * 3 / 4))
    end
  end
end

local function events_flush(separator)
  if #events > 0 then append(EVENTS, 100000, 'e', table.concat(events, separator or '\n')) end
end
