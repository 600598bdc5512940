"""Two responses, the second of which goes on from the first."""

from openai import OpenAI

client = OpenAI()
first = client.responses.create(model="gpt-4o-mini", input="My favourite colour is blue.")
client.responses.create(model="gpt-4o-mini", input="Which colour is it?", previous_response_id=first.id)
