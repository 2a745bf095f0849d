"""The words that reviews and tickets are written with; knows no grammar."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from zlib import crc32

ASPECTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "battery": (
        ("One charge lasts for days.", "I charge it once a week, no more.", "The battery outlives a long weekend."),
        ("It is empty by noon.", "I have to charge it twice a day.", "The battery dies within an hour."),
    ),
    "sound": (
        ("Every note is clear.", "Music has never been so rich.", "The sound fills the whole room."),
        ("Voices come out tinny.", "There is a hiss in every song.", "The sound crackles when I turn it up."),
    ),
    "screen": (
        ("I can read it in bright sun.", "Colours look just as they should.", "The screen is sharp to the edge."),
        ("I cannot read a thing outdoors.", "There is a green line down the display.", "The screen flickers all day."),
    ),
    "design": (
        ("Visitors ask me where I found such a pretty thing.", "It looks lovely on the shelf.", "The design is a joy."),
        ("It looks like a toy from the eighties.", "My wife hides it when guests come.", "The design is plain ugly."),
    ),
    "noise": (
        ("It runs so quietly that the cat sleeps next to it.", "You hardly hear it.", "It makes almost no noise."),
        ("It howls like a siren.", "The neighbours knock on the wall when I use it.", "The noise is hard to bear."),
    ),
    "size": (
        ("It fits into the smallest cupboard.", "It takes no room at all.", "The size is just right."),
        ("It does not fit anywhere in my flat.", "It is far bigger than in the picture.", "The size is all wrong."),
    ),
    "weight": (
        ("I carry it with one finger.", "It is as light as a feather.", "The weight is no trouble at all."),
        ("I need both hands to lift it.", "It is as heavy as a brick.", "The weight hurts my back."),
    ),
    "comfort": (
        ("I forget that I have it on.", "I could spend all day with it.", "The comfort is wonderful."),
        ("After ten minutes everything aches.", "It presses and chafes.", "The comfort is a bad joke."),
    ),
    "price": (
        ("It was worth every cent.", "For that money it is a bargain.", "The price is more than fair."),
        ("Others sell the same for half.", "That is far too much money for it.", "The price is a rip-off."),
    ),
    "delivery": (
        ("It was at my door the next morning.", "It came a day early.", "The delivery was quick and on time."),
        ("I waited three weeks for the parcel.", "The courier left it in the rain.", "The delivery was a mess."),
    ),
    "packaging": (
        ("The box was neat and free of plastic.", "Everything was wrapped with care.", "The packaging is clever."),
        ("The box was torn open.", "It took an hour to get through all the foil.", "The packaging fell apart."),
    ),
    "support": (
        ("A friendly person helped me at once.", "They answered my mail in an hour.", "The support is first class."),
        ("Nobody answers the phone.", "They sent me the same useless mail twice.", "The support is hopeless."),
    ),
    "manual": (
        ("The instructions are clear, with a picture for each step.", "The manual explains it all well."),
        ("The instructions make no sense.", "The manual is only in a language I do not read."),
    ),
    "durability": (
        ("It survived three falls without a scratch.", "After two years it is as good as new."),
        ("A piece broke off in the first week.", "The hinge snapped after ten days."),
    ),
    "setup": (
        ("It worked two minutes after I opened the box.", "Putting it together was child's play."),
        ("I spent a whole evening on putting it together.", "It took five tries to get it going."),
    ),
    "cleaning": (
        ("A damp cloth is all it needs.", "It goes into the dishwasher, done."),
        ("Dirt gets into every gap and stays.", "It takes ages to wash."),
    ),
}
"""Of each aspect of a product: sentences that praise it, and sentences that criticise it."""

GOOD = ("great", "excellent", "very good", "superb", "better than I hoped", "really good", "perfect", "fantastic")
BAD = ("terrible", "poor", "awful", "really bad", "worse than I feared", "a let-down", "very weak", "dreadful")

KINDS: Mapping[str, tuple[str, ...]] = {
    "kettle": ("noise", "size", "cleaning", "design", "durability", "manual"),
    "lamp": ("design", "size", "setup", "durability", "weight"),
    "radio": ("sound", "battery", "design", "size", "manual", "setup"),
    "phone": ("battery", "screen", "sound", "size", "weight", "setup"),
    "laptop": ("battery", "screen", "noise", "weight", "setup", "durability"),
    "headphones": ("sound", "comfort", "battery", "weight", "design"),
    "camera": ("battery", "screen", "weight", "manual", "durability", "size"),
    "backpack": ("comfort", "size", "weight", "durability", "design", "cleaning"),
    "tent": ("size", "weight", "setup", "durability", "manual"),
    "bicycle": ("comfort", "weight", "setup", "durability", "design", "noise"),
    "jacket": ("comfort", "size", "weight", "cleaning", "design", "durability"),
    "shoes": ("comfort", "size", "weight", "cleaning", "durability", "design"),
    "blender": ("noise", "cleaning", "size", "manual", "durability", "setup"),
    "vacuum cleaner": ("noise", "battery", "weight", "cleaning", "setup"),
    "chair": ("comfort", "setup", "design", "size", "weight", "durability"),
    "watch": ("battery", "screen", "design", "comfort", "manual", "size"),
    "toaster": ("noise", "cleaning", "size", "design", "durability"),
    "printer": ("noise", "setup", "size", "manual", "durability"),
    "mattress": ("comfort", "size", "weight", "durability", "noise"),
    "keyboard": ("noise", "comfort", "battery", "design", "cleaning", "size"),
}
"""Of each kind of product: the aspects that a review of it may speak of, besides those of any purchase."""

PURCHASE = ("price", "delivery", "packaging", "support")

MOODS: Mapping[str, tuple[str, ...]] = {
    "happy": ("I am so happy with this.", "I smile whenever I see it.", "This made my week, I am delighted."),
    "grateful": ("Thank you so much, all of you.", "I am truly grateful.", "A big thank-you from our family."),
    "surprised": ("I did not expect that at all!", "What a surprise this was.", "I still cannot believe it."),
    "angry": ("I am furious.", "This makes me really angry.", "I am so mad that I could scream.", "What an outrage!"),
    "disappointed": ("I had hoped for more.", "What a disappointment.", "I feel let down, to be honest."),
    "worried": ("I am getting worried.", "I lie awake over this.", "I fear that something is seriously wrong."),
}

MOODS_OF: Mapping[str, tuple[str, ...]] = {
    "positive": ("happy", "grateful", "surprised"),
    "negative": ("angry", "disappointed", "worried"),
    "mixed": ("surprised", "disappointed"),
    "neutral": (),
}

CONCERNS: Mapping[str, tuple[str, ...]] = {
    "bug": (
        "The {kind} stopped working this morning.",
        "My {kind} no longer turns on.",
        "Since the update the {kind} freezes every few minutes.",
        "The {kind} shows an error and then does nothing.",
        "Something in the {kind} is broken.",
    ),
    "billing": (
        "You charged my card twice.",
        "The invoice shows the wrong amount.",
        "I was billed for something that I never ordered.",
        "There is a fee on my statement that I do not understand.",
        "The discount is missing from my bill.",
    ),
    "delivery": (
        "My parcel has not arrived yet.",
        "The tracking page has not moved for six days.",
        "The parcel went to the wrong address.",
        "Where is my parcel?",
        "The courier says it was handed over, but I got nothing.",
    ),
    "refund": (
        "I want my money back.",
        "Please refund the whole amount.",
        "I sent it back and still wait for the refund.",
        "How long until you return what I paid?",
        "I ask for a full refund.",
    ),
    "question": (
        "Does it also work with a long cable?",
        "Can you tell me which spare part I need?",
        "How do I clean the inside?",
        "Is there a version in blue?",
        "I would like to know how long the warranty runs.",
    ),
    "cancellation": (
        "Please cancel my order.",
        "I no longer need it, so stop the shipment.",
        "I changed my mind and want to cancel.",
        "Do not send it, I take back my order.",
        "Cancel the purchase, please.",
    ),
    "praise": (
        "I only write to say how well it works.",
        "No problem here, just praise for your team.",
        "You have done a wonderful job.",
        "Keep up the good work.",
        "This is the best {kind} I have ever had.",
    ),
}
"""Of each reason to write to a shop: sentences that give it."""

MOODS_OF_CONCERN: Mapping[str, tuple[str, ...]] = {
    "praise": ("happy", "grateful", "surprised"),
    "question": ("worried",),
    **dict.fromkeys(("bug", "billing", "delivery", "refund", "cancellation"), ("angry", "disappointed", "worried")),
}

CITIES = (
    "Lyon Porto Bergen Krakow Turin Leipzig Seville Utrecht Graz Cork Bristol Tampere Aarhus Ghent Basel Malaga Brno "
    "Rennes Genoa Dresden Split Riga Leeds Dublin Oslo Vienna Madrid Paris Berlin Lisbon Rome Athens Prague Warsaw "
    "Boston Denver Austin Seattle Chicago Toronto Montreal Sydney Perth Auckland Osaka Kyoto Nagoya Busan Pune Delhi "
    "Lagos Accra Nairobi Tunis Cairo Lima Bogota Quito Santiago Cordoba"
).split()

OPENINGS = (
    "I bought the {product}{where}{when}.",
    "My new {kind} is a {brand}.",
    "The {kind} from {brand} is mine{when}.",
    "This is about the {product}.",
    "I ordered a {product}{when}.",
    "Got the {product} as a gift.",
    "We have had the {product} for a while.",
    "A friend told me to get the {brand} {kind}.",
    "{brand} makes this {kind}.",
    "After long thought I took the {product}.",
    "The {product} arrived{when}.",
)

REFERRALS = (
    "I write about my {product}.",
    "It is about the {product}{when}.",
    "I have a {product}.",
    "The {kind} is from {brand}.",
    "This concerns the {product}.",
    "Hello, I bought a {product}{where}{when}.",
    "Hi, regarding the {brand} {kind}.",
    "Dear team, my {kind} is a {brand}.",
)

PRICES = (
    "I paid {price} for it.",
    "It cost {price}.",
    "The bill was {price}.",
    "{price} it was.",
    "I got it for {price}.",
)
PLACES = ("I live in {city}.", "It was sent to {city}.", "Greetings from {city}.", "The shop is in {city}.")
ORDERS = ("My order number is {order}.", "Order {order}.", "The order was {order}.", "See order {order}.")
DATES = ("I bought it on {date}.", "It came on {date}.", "That was on {date}.")
FILLERS = (
    "I use it every day.",
    "My sister has the same one.",
    "It stands in the kitchen now.",
    "I have tried three others before.",
    "We are a family of four.",
    "It is the second one in our house.",
    "I read many reviews before.",
    "My old one was ten years old.",
    "It came with a small bag.",
    "There are two colours to choose from.",
    "The shop has several models.",
    "I will write again in a year.",
    "My son uses it too.",
    "I looked at it in the shop first.",
    "It was Tuesday when I opened the box.",
)

_STARTS = "B Br C Cl D Dr F Fl G Gr H J K Kr L M N P Pl Qu R S St T Tr V W Z Sh Th".split()
_VOWELS = "a e i o u ei ia oo ou y".split()
_MIDDLES = "b d g k l m n p r s t v x nd lk rt mb st ll nn zz".split()
_ENDS = "n r x s l k t a o on ex is um el ar io ix ora enta ics".split()


def write_brand(rng: Random, held_out: bool) -> str:
    """A brand that nobody has; a tenth of all names is held out, and the two sets never meet."""
    while True:
        name = rng.choice(_STARTS) + rng.choice(_VOWELS)
        for _ in range(rng.choice((0, 1, 1, 2))):
            name += rng.choice(_MIDDLES) + rng.choice(_VOWELS)
        name += rng.choice(_ENDS)
        if rng.random() < 0.15:
            name += " " + rng.choice(("One", "Pro", "Home", "X2", "300", "Air", "Max", "Plus", "7"))
        if is_held_out(name) == held_out:
            return name


def is_held_out(name: str) -> bool:
    """Whether a brand, or a set of labels, is kept from training."""
    return crc32(name.encode()) % 10 == 0
