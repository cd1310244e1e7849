from nsgauge.data.importers.reading.messages import Asked, asked, text_of


def text(words):
    return {"type": "text", "text": words}


def test_a_question_asked_alone_stands_without_its_speaker():
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [text("What"), {"type": "image", "image": "a"}, text("is it?")],
        },
        {"role": "assistant", "content": "A kite."},
    ]
    assert asked(messages) == Asked(prompt="What\nis it?", system="Be brief.", pictures=["a"])
    spoken = asked(messages[1:])
    assert spoken is not None
    assert spoken.columns() == {"prompt": "What\nis it?"}


def test_a_conversation_is_joined_up_to_the_last_question():
    messages = [
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": [text("A kite."), {"type": "image", "image": "mine"}]},
        {
            "role": "user",
            "content": [text("Sure?"), {"type": "image_url", "image_url": {"url": "b"}}],
        },
        {"role": "assistant", "content": "A boat."},
    ]
    spoken = asked(messages)
    assert spoken is not None
    assert spoken.prompt == "User: What is it?\n\nAssistant: A kite.\n\nUser: Sure?"
    # What the VLLM itself showed is no picture that it was asked about.
    assert spoken.pictures == ["b"]


def test_what_is_no_message_is_passed_over():
    assert asked([]) is asked(["odd", 3, {"role": "assistant", "content": "x"}]) is None
    assert asked(["odd", {"role": "user", "content": None}]) == Asked(prompt="")
    assert text_of([{"type": "text", "text": 5}, text("a"), "b"]) == "a"
