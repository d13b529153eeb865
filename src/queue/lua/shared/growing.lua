-- How much more memory a line declares after an attempt that was killed for want of it.

-- So many GB as text, as people read it.
local function gb_text(bytes) return string.format('%.2f', bytes / 1073741824) end

-- Rounded down to two digits in GB, as the worker rounds up: a bound that is measured changes a little from one look to the next.
local function two_digits(bytes)
  if bytes < 1 then return 0 end
  local unit = 10 ^ (math.floor(math.log10(bytes / 1073741824)) - 1)
  return math.floor(math.floor(bytes / 1073741824 / unit) * unit * 1073741824)
end

-- The memory of the largest node that could run a line of this class.
local function largest_node(class)
  if not grown.nodes then
    grown.nodes = {}
    for _, text in ipairs(redis.call('HVALS', CAPACITY)) do
      local mem, cpu, traits = capacity_parts(text)
      if mem then grown.nodes[#grown.nodes + 1] = { mem = mem, cpu = cpu, traits = traits_of(traits) } end
    end
  end
  local cpu, needs = string.match(class, '^%d+:(%d+):([^:]*):')
  local most, now = 0, now_ms()
  for _, node in ipairs(grown.nodes) do
    if node.mem > most and node.cpu >= tonumber(cpu) and (needs == '' or suits(node.traits, needs_of(needs), now)) then most = node.mem end
  end
  return most
end

-- Sets what a line declares from now on, and returns it; nil where it can be no more than now. `node` is the memory of the node that it ran on: larger ones
-- may live, and no more is declared than the largest has. Without it, `wanted` is within a bound that was configured.
function grown.raise(line, class, wanted, node)
  local declared = tonumber(grown.of(line) or string.match(class, '^%d+'))
  if node then
    local most = math.max(node, largest_node(class))
    if wanted > most then wanted = two_digits(most) end
  end
  if wanted <= declared then return nil end
  -- Others may have put the line in todo as well, where the index has it by what it declared until now.
  if is_waiting(line) then index_forget(class, line) end
  grown.set(line, int(wanted))
  return wanted
end
