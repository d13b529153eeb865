-- What a lane needs beside memory and cores, and whether a worker has it. The Rust side writes and judges the same: model/needs.rs, model/traits.rs.
--
-- NEEDS is "constraint=a;!b,gpus=500,limit=disk,prefer=ssd,time=60": sorted, amounts of resources in thousandths. A worker's traits are "RESOURCES:LABELS:END",
-- RESOURCES being "gpus@1000/500,lic=3000": what is left of each device, or of a sum.

local known_needs = {}

-- The parts of NEEDS: amounts by resource (nil for none), constraints, preferences, limits, seconds to live and the family by which memory is learnt (nil
-- for none).
local function needs_of(text)
  local needs = known_needs[text]
  if needs then return needs end
  needs = { constraint = {}, prefer = {}, limit = {} }
  for key, value in string.gmatch(text, '([^,=]+)=([^,]*)') do
    local list = key ~= 'time' and key ~= 'amounts' and needs[key]
    if key == 'time' then
      needs.time = tonumber(value)
    elseif key == 'learn' then
      needs.learn = value
    elseif list then
      list[#list + 1] = value
    else
      needs.amounts = needs.amounts or {}
      needs.amounts[key] = tonumber(value)
    end
  end
  known_needs[text] = needs
  return needs
end

-- Resources by name: a list of what is left of each device, or { sum = what is left }.
local function resources_of(text)
  local all = {}
  for name, kind, value in string.gmatch(text, '([^,=@]+)([=@])([^,]*)') do
    local stock = {}
    if kind == '=' then
      stock.sum = tonumber(value)
    else
      for left in string.gmatch(value, '%d+') do stock[#stock + 1] = tonumber(left) end
    end
    all[name] = stock
  end
  return all
end

local function traits_of(text)
  local resources, labels, ends = string.match(text, '^([^:]*):([^:]*):(%d*)$')
  local traits = { labels = {}, resources = resources_of(resources or ''), ends = tonumber(ends) }
  for label in string.gmatch(labels or '', '[^,]+') do traits.labels[label] = true end
  return traits
end

local function resources_text(resources)
  local parts = {}
  for name, stock in pairs(resources) do parts[#parts + 1] = stock.sum and name .. '=' .. int(stock.sum) or name .. '@' .. table.concat(stock, '/') end
  return table.concat(parts, ',')
end

-- Whether so much can be taken of a resource: whole devices only from those that nobody shares, a part from one that has as much left.
local function has_left(stock, amount)
  if stock.sum then return amount <= stock.sum end
  local whole = 0
  for _, left in ipairs(stock) do
    if amount < 1000 and left >= amount then return true end
    if left == 1000 then whole = whole + 1 end
  end
  return amount % 1000 == 0 and amount >= 1000 and amount / 1000 <= whole
end

-- The first resource of which there is too little; nil when everything is there.
local function lacks(resources, amounts)
  for name, amount in pairs(amounts or {}) do
    if not (resources[name] and has_left(resources[name], amount)) then return name end
  end
end

-- Takes what was found to be there, as the worker will: a part from the fullest device that has enough, so that whole ones stay whole.
local function take(resources, amounts)
  for name, amount in pairs(amounts or {}) do
    local stock, best = resources[name], nil
    if stock.sum then
      stock.sum = stock.sum - amount
    elseif amount < 1000 then
      for i, left in ipairs(stock) do
        if left >= amount and (not best or left < stock[best]) then best = i end
      end
      stock[best] = stock[best] - amount
    else
      for i, left in ipairs(stock) do
        if amount >= 1000 and left == 1000 then
          stock[i] = 0
          amount = amount - 1000
        end
      end
    end
  end
end

-- Whether all of these hold of labels: each is terms with ";" between them, of which one must.
local function labels_hold(labels, constraints)
  for _, terms in ipairs(constraints) do
    local holds = false
    for is_not, label in string.gmatch(terms, '(!?)([^;]+)') do
      if (labels[label] ~= nil) == (is_not == '') then holds = true end
    end
    if not holds then return false end
  end
  return true
end

-- Whether a worker with these traits could take such a lane, if nothing else of ours ran there.
local function suits(traits, needs, now)
  return not lacks(traits.resources, needs.amounts) and labels_hold(traits.labels, needs.constraint)
    and not (needs.time and traits.ends and now / 1000 + needs.time > traits.ends)
end

-- CAPACITY[worker] = MEM:CPU:TRAITS of a worker that takes tasks.
local function capacity_parts(text)
  local mem, cpu, traits = string.match(text, '^(%d+):(%d+):?(.*)$')
  return tonumber(mem), tonumber(cpu), traits
end
