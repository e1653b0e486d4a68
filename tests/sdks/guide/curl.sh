# A long-running conversation, as Together's guide has it, but for the address.
curl --silent --show-error --fail-with-body -X POST "$TOGETHER_BASE_URL/v1/chat/completions" \
  -H "Authorization: Bearer $TOGETHER_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "model": "Qwen/Qwen3.5-9B",
    "reasoning": {"enabled": false},
    "messages": [
      {"role": "user", "content": "What are some fun things to do in New York?"},
      {"role": "assistant", "content": "You could go to the Empire State Building!"},
      {"role": "user", "content": "That sounds fun! Where is it?"}
    ]
  }'
