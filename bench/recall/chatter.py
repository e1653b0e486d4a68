"""What is said between facts: of nothing much, of the same people, and long replies about the same subjects."""

from __future__ import annotations

_WOMEN = "Nora Priya Grace Clara Mei Agnes Fatima Judith Leonie Rosa Thea Valerie Wanda Xenia"
_MEN = "Tom Emil Henrik Yusuf Otto Anton Basil Dario Frank Gustav Hugo Karim Leo Milan"
WOMEN, MEN = tuple(_WOMEN.split()), tuple(_MEN.split())
HER_ROLES = ("my sister", "my boss", "my aunt", "my niece", "my teacher")
HIS_ROLES = ("my brother", "my neighbour", "my cousin", "my flatmate", "my grandfather")
"""What one says instead of a name."""
OTHERS = ("Lukas", "Amina", "Peter", "Ingrid", "Samuel", "Beatrice", "Jonas", "Olga")
"""Of whom nothing is told: only what sounds like it."""

OPENINGS = (
    "By the way, I was thinking of {who}.",
    "{Who} called this morning, and I had not much time.",
    "I will see {who} soon.",
    "Something about {who} comes to mind.",
)
"""What a user says before telling."""
NUDGES = ("Tell me more.", "What is it?", "Oh, what happened?", "I am listening.", "And what about that?")
NODS = (
    "Good to know.",
    "Thank you for telling me. Is there anything that you would like me to do with it?",
    "I see. That is the kind of thing one is glad to have heard.",
    "Understood, I will keep it in mind for what we talk about later.",
)
MENTIONS = (
    "{Who} sends greetings and asks what you are.",
    "Could you help me with a few lines to {who}? I have not written for a long time.",
    "What would you say to {who} when it is raining again and nobody wants to go out?",
    "{Who} told that joke again, and I do not know when to laugh.",
    "Do you know which of us was right, {who} or I? It is about who does the dishes.",
    "I have a photograph of {who} here, from when we were at the sea. Where should it hang?",
    "{Who} and I had an argument about what is fair. How does one end that?",
    "When {who} is here, what can we do in the evening?",
)
"""Of people of whom facts are told, and no facts."""
ABOUT = (
    "{Who} may see it in another way than you do, and that is fine.",
    "I would ask {who} first, and do what seems right to you then.",
    "For {who} it could be enough to know that you thought of it.",
    "Write as you would speak: {who} knows your voice, and will hear it.",
    "Perhaps {who} would like to be asked, and to be left in peace after that.",
    "What matters to {who} you know better than I do.",
)
SMALL = (
    "What do you think of the weather we are having?",
    "I did not sleep much. Do you have an idea what one does about that?",
    "Which of these words is right, further or farther?",
    "How long does it take to boil an egg when it comes from the fridge?",
    "I have to be at the dentist in an hour, and I do not want to go.",
    "Can you explain how a heat pump works, in a few words?",
    "When was the bicycle invented, and by whom?",
    "What is the difference between a novel and a novella?",
    "My train is late again. Tell me something that is interesting.",
    "Is it true that the moon moves away from us?",
    "I need a name for a folder in which all of my old files go.",
    "Where do the swallows go when it is cold here?",
    "Who was it that said that all happy families are alike?",
    "How do I get coffee out of a shirt?",
    "Which day is it that the clocks change this year?",
    "Please make this sentence shorter: it is as long as it is because I did not have the time.",
    "What should I cook tonight with rice, two eggs and an onion?",
    "Do you know a good exercise for the back, for somebody who sits all day?",
    "How much water does a lemon tree need?",
    "What does the word serendipity mean, and where does it come from?",
    "I had to laugh at what you said this morning.",
    "That is enough for today, I think. We will go on tomorrow.",
)
REPLIES = (
    "There is no one answer to that, but most people begin with a walk and a glass of water.",
    "It depends on what you have at hand: start small, and see how it goes.",
    "In short: it was long ago, several people did it at the same time, and the best known of them came last.",
    "I would write it down, leave it for a night, and look at it again when you are rested.",
    "Warm, not hot, and a little at a time; if it does not work, do it once more and wait longer.",
    "Both are right, and which of them you hear depends on where you are.",
    "They go south in autumn, some of them very far, and come back to where they were born.",
    "As far as is known, yes: a few centimetres a year, which is about as fast as nails grow.",
    "You are welcome. Is there something else that I can do for you before you go?",
    "Rice, the onion slowly in butter, the eggs at the end, and pepper over all of it.",
)
