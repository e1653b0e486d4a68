"""Chat templates in the manner of those that models come with, shortened."""

PLAIN = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""

TOOLS = r"""
{%- if tools %}
  {{- '<|im_start|>system\n' }}
  {%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}
  {{- '# Tools\n\n<tools>' }}
  {%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
  {{- '\n</tools>\n\nFor each function call, return a json object within <tool_call></tool_call> tags:\n' }}
  {{- '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}
{%- elif messages[0].role == 'system' %}
  {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
"""

RESULT = r"""
    {%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
    {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
"""

HERMES = (
    TOOLS
    + r"""
{%- for message in messages %}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first)
         or (message.role == 'assistant' and not message.tool_calls) %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|im_start|>assistant' }}
    {%- if message.content %}{{- '\n' + message.content }}{%- endif %}
    {%- for call in message.tool_calls %}
      {%- if call.function is defined %}{%- set call = call.function %}{%- endif %}
      {{- '\n<tool_call>\n{"name": "' + call.name + '", "arguments": ' }}
      {{- call.arguments | tojson }}
      {{- '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
  {%- elif message.role == 'tool' %}"""
    + RESULT
    + r"""
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
)
"""Hermes 2 Pro, Qwen 2.5."""

QWEN = (
    TOOLS
    + r"""
{%- set ns = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
  {%- set index = (messages|length - 1) - loop.index0 %}
  {%- if ns.searching and message.role == 'user' %}
    {%- set ns.searching = false %}{%- set ns.last = index %}
  {%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
    {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {%- set thoughts = '' %}
    {%- if message.reasoning_content is string %}
      {%- set thoughts = message.reasoning_content %}
    {%- elif '</think>' in content %}
      {%- set thoughts = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
      {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {{- '<|im_start|>assistant\n' }}
    {%- if loop.index0 > ns.last and (loop.last or thoughts) %}
      {{- '<think>\n' + thoughts.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
    {%- else %}
      {{- content }}
    {%- endif %}
    {%- for call in message.tool_calls or [] %}
      {%- if not loop.first or content %}{{- '\n' }}{%- endif %}
      {%- if call.function %}{%- set call = call.function %}{%- endif %}
      {{- '<tool_call>\n{"name": "' + call.name + '", "arguments": ' }}
      {%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
      {{- '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
  {%- elif message.role == 'tool' %}"""
    + RESULT
    + r"""
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\n' }}
  {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}
"""
)
"""Qwen 3: thinks unless told not to; thoughts are shown again only since the last question."""

ALWAYS_THINKS = r"""
{%- for message in messages %}
  {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
  {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n<think>\n' }}{%- endif %}
"""
"""DeepSeek R1 distilled, QwQ: the prompt ends within the thoughts."""

LLAMA = r"""
{%- macro header(role) %}{{- '<|start_header_id|>' + role + '<|end_header_id|>\n\n' }}{%- endmacro %}
{%- set system = '' %}
{%- if messages[0].role == 'system' %}
  {%- set system = messages[0].content | trim %}{%- set messages = messages[1:] %}
{%- endif %}
{{- header('system') }}
{%- if tools %}{{- 'Environment: ipython\n' }}{%- endif %}
{{- 'Cutting Knowledge Date: December 2023\n\n' + system + '<|eot_id|>' }}
{%- if tools %}
  {%- set question = messages[0].content | trim %}{%- set messages = messages[1:] %}
  {{- header('user') + 'Given the following functions, please respond with a JSON for a function call.\n\n' }}
  {{- 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.\n\n' }}
  {%- for tool in tools %}{{- tool | tojson(indent=4) + '\n\n' }}{%- endfor %}
  {{- question + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role not in ('ipython', 'tool') and 'tool_calls' not in message %}
    {{- header(message.role) + message.content | trim + '<|eot_id|>' }}
  {%- elif 'tool_calls' in message %}
    {%- if message.tool_calls | length != 1 %}
      {{- raise_exception('This model only supports single tool-calls at once!') }}
    {%- endif %}
    {%- set call = message.tool_calls[0].function %}
    {{- header('assistant') + '{"name": "' + call.name + '", "parameters": ' }}
    {{- call.arguments | tojson }}
    {{- '}<|eot_id|>' }}
  {%- else %}
    {{- header('ipython') }}
    {%- if message.content is string %}{{- message.content }}{%- else %}{{- message.content | tojson }}{%- endif %}
    {{- '<|eot_id|>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- header('assistant') }}{%- endif %}
"""
"""Llama 3.1: no mark before a call, and one of them at a time."""

CODER = (
    TOOLS
    + r"""
{%- for message in messages %}
  {{- '<|im_start|>' + ('user' if message.role == 'tool' else message.role) + '\n' }}
  {%- if message.content is string %}{{- message.content }}{%- endif %}
  {%- for call in message.tool_calls or [] %}
    {{- '<tool_call>\n<function=' + call.function.name + '>\n' }}
    {%- for name, value in call.function.arguments | items %}
      {{- '<parameter=' + name + '>\n' + (value if value is string else value | tojson) + '\n</parameter>\n' }}
    {%- endfor %}
    {{- '</function>\n</tool_call>' }}
  {%- endfor %}
  {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
)
"""Qwen 3 Coder: calls with tags around each argument."""

IN_PARTS = r"""
{%- macro part(role, channel, text) %}
  {{- '<|start|>' + role + ('<|channel|>' + channel if channel else '') + '<|message|>' + text + '<|end|>' }}
{%- endmacro %}
{{- part('system', '', 'Reasoning: ' + (reasoning_effort or 'medium')) }}
{%- if tools %}{{- part('developer', '', tools | tojson) }}{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'tool' %}
    {{- '<|start|>functions.' + message.name + ' to=assistant<|channel|>commentary<|message|>' }}
    {{- message.content + '<|end|>' }}
  {%- elif message.tool_calls %}
    {%- set call = message.tool_calls[0].function %}
    {{- '<|start|>assistant to=functions.' + call.name + '<|channel|>commentary json<|message|>' }}
    {{- call.arguments | tojson }}
    {{- '<|call|>' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|end|>' }}
  {%- else %}
    {{- part(message.role, '', message.content) }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}
"""
"""gpt-oss: every message has parts, and a call names its tool before its part begins."""
