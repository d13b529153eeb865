-- The field order of the queue, which every writer must agree with.

-- Whether the queue's lines are read in this field order, which is recorded where none is: others may have emptied the server. "" asks nothing.
local function order_agrees(order)
  if order == '' then return true end
  local recorded = redis.call('GET', FIELD_ORDER)
  if recorded then return recorded == order end
  redis.call('SETNX', FIELD_ORDER, order)
  return true
end
